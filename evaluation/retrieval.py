"""How well passages are found: nDCG@10 and found@5 on three public sets, searched as one corpus.

The real index is built from the sets' passages in the cache folder; each half (vectors, full text) is measured
beside the fusion, in the same run. A document counts at the rank of its best passage.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from assistant import retrieval
from assistant.pipeline import open_retriever
from assistant.conversation import standalone
from assistant.retrieval.store import Snapshot
from assistant.settings import Settings
from assistant.schemas import Vectors
from evaluation.data import SETS, Query, open_corpus, read_queries
from evaluation.statistics import interval, keep, show

BASELINE = {"clapnq": 0.939, "nq": 0.942, "mtrag_un": 0.728}
"""nDCG@10 of the plain dense baseline (see evaluation/data/README.md)."""

Ranking = Callable[[Snapshot, Vectors, str], Mapping[int, float]]


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Measure one set (``data``) or all; ``limit`` queries of each."""
    retriever = open_retriever(open_corpus(settings))
    halves: dict[str, Ranking] = {
        "fused": fused,
        "dense": lambda snapshot, vector, _: snapshot.nearest(vector, retrieval.CANDIDATES),
        "full text": lambda snapshot, _, words: snapshot.full_text(words, retrieval.CANDIDATES),
    }
    result: dict[str, Any] = {"seed": seed, "sets": {}}
    for name in [data] if data else SETS:
        queries = read_queries(name, limit)
        rows: dict[str, Any] = {"questions": len(queries), "baseline_ndcg": BASELINE[name]}
        for half, ranking in halves.items():
            of_half = [scores(query, ranked(retriever, query, ranking)) for query in queries]
            rows[half] = {
                "ndcg@10": interval([ndcg for ndcg, _, _ in of_half], seed),
                "found@5": interval([found for _, found, _ in of_half], seed),
                "p95_milliseconds": round(float(np.percentile([ms for _, _, ms in of_half], 95)), 1),
            }
        result["sets"][name] = rows
    path = keep("retrieval", result)
    _print(result)
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def fused(snapshot: Snapshot, vector: Vectors, words: str) -> Mapping[int, float]:
    """As a reader's question is ranked."""
    return retrieval.fused(snapshot, vector, words)[0]


def ranked(retriever: retrieval.Retriever, query: Query, ranking: Ranking) -> tuple[list[str], float]:
    """The documents by their best passages, and the milliseconds it took."""
    started = time.monotonic()
    text = standalone(query.text, query.conversation, retriever.nearness)
    vector = retriever.embedder.embed([text])[0]
    with retriever.index.snapshot() as snapshot:
        scores = ranking(snapshot, vector, retrieval.full_text_query(text))
        best = sorted(scores, key=lambda identifier: (-scores[identifier], identifier))
        milliseconds = (time.monotonic() - started) * 1000
        chunks = snapshot.chunks(best)
    return list(dict.fromkeys(chunks[identifier].document for identifier in best)), milliseconds


def scores(query: Query, found: tuple[list[str], float]) -> tuple[float, float, float]:
    """nDCG@10, whether one of the first five is relevant, and the milliseconds it took."""
    documents, milliseconds = found
    gains = [query.relevant.get(document, 0) / math.log2(rank + 2) for rank, document in enumerate(documents[:10])]
    ideal = sorted(query.relevant.values(), reverse=True)[:10]
    best = sum(relevance / math.log2(rank + 2) for rank, relevance in enumerate(ideal))
    within_five = any(document in query.relevant for document in documents[:5])
    return sum(gains) / best, float(within_five), milliseconds


def _print(result: dict[str, Any]) -> None:
    print("| set | questions | nDCG@10 fused | dense half | full-text half | found@5 fused | p95 ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in result["sets"].items():
        cells = [show(row[half]["ndcg@10"]) for half in ("fused", "dense", "full text")]
        cells += [show(row["fused"]["found@5"]), str(row["fused"]["p95_milliseconds"])]
        print(f"| {name} | {row['questions']} | {' | '.join(cells)} |")
