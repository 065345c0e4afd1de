"""How well passages are found: nDCG@10 and found@5 on three public sets, searched as one corpus.

The real index is built from the sets' passages in the cache folder; what comes before the last stage (vectors, full
text, both fused) is measured beside the whole, in the same run. A follow-up is searched with what was said before it,
and not rewritten: no model is asked. A document counts at the rank of its best passage.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from assistant.pipeline import open_retriever
from assistant.query import context
from assistant.retrieval.hybrid_search import CANDIDATES, RERANKED, Retriever, full_text_query, fused
from assistant.retrieval.store import Snapshot
from assistant.schemas import Vectors
from assistant.settings import Settings
from evaluation.data import SETS, Query, open_corpus, read_queries
from evaluation.statistics import interval, keep, show

BASELINE = {"clapnq": 0.939, "nq": 0.942, "mtrag_un": 0.728}
"""nDCG@10 of the plain dense baseline (see evaluation/data/README.md)."""

Ranking = Callable[[Retriever, str, str], list[str]]
"""A question and its context ("" for none) → the documents of passages, best first."""


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Measure one set (``data``) or all; ``limit`` queries of each."""
    retriever = open_retriever(open_corpus(settings))
    result: dict[str, Any] = {"seed": seed, "sets": {}}
    for name in [data] if data else SETS:
        queries = read_queries(name, limit)
        rows: dict[str, Any] = {"questions": len(queries), "baseline_ndcg": BASELINE[name]}
        for stage, ranking in STAGES.items():
            of_stage = [scores(query, ranked(retriever, query, ranking)) for query in queries]
            rows[stage] = {
                "ndcg@10": interval([ndcg for ndcg, _, _ in of_stage], seed),
                "found@5": interval([found for _, found, _ in of_stage], seed),
                "p95_milliseconds": round(float(np.percentile([ms for _, _, ms in of_stage], 95)), 1),
            }
        result["sets"][name] = rows
    path = keep("retrieval", result)
    _print(result)
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def searched(retriever: Retriever, query: str, together: str) -> list[str]:
    """As a reader's question is ranked."""
    return [result.chunk.document for result in retriever.search(query, RERANKED, together)]


def _stage(score: Callable[[Snapshot, Vectors, str], Mapping[int, float]]) -> Ranking:
    def ranking(retriever: Retriever, query: str, together: str) -> list[str]:
        text = together or query
        with retriever.index.snapshot() as snapshot:
            found = score(snapshot, retriever.encode(text).vector, full_text_query(text))
            best = sorted(found, key=lambda identifier: (-found[identifier], identifier))
            chunks = snapshot.chunks(best)
        return [chunks[identifier].document for identifier in best]

    return ranking


STAGES: dict[str, Ranking] = {
    "search": searched,
    "fused": _stage(lambda snapshot, vector, words: fused(snapshot, vector, words)[0]),
    "dense": _stage(lambda snapshot, vector, _: snapshot.nearest(vector, CANDIDATES)),
    "full text": _stage(lambda snapshot, _, words: snapshot.full_text(words, CANDIDATES)),
}


def ranked(retriever: Retriever, query: Query, ranking: Ranking) -> tuple[list[str], float]:
    """The documents by their best passages, and the milliseconds it took."""
    together = context(query.text, query.conversation) if query.conversation else ""
    retriever.encode.cache_clear()
    started = time.monotonic()
    documents = ranking(retriever, query.text, together)
    milliseconds = (time.monotonic() - started) * 1000
    return list(dict.fromkeys(documents)), milliseconds


def scores(query: Query, found: tuple[list[str], float]) -> tuple[float, float, float]:
    """nDCG@10, whether one of the first five is relevant, and the milliseconds it took."""
    documents, milliseconds = found
    gains = [query.relevant.get(document, 0) / math.log2(rank + 2) for rank, document in enumerate(documents[:10])]
    ideal = sorted(query.relevant.values(), reverse=True)[:10]
    best = sum(relevance / math.log2(rank + 2) for rank, relevance in enumerate(ideal))
    within_five = any(document in query.relevant for document in documents[:5])
    return sum(gains) / best, float(within_five), milliseconds


def _print(result: dict[str, Any]) -> None:
    print("| set | questions | nDCG@10 | both fused | vectors | full text | found@5 | p95 ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, row in result["sets"].items():
        cells = [show(row[stage]["ndcg@10"]) for stage in STAGES]
        cells += [show(row["search"]["found@5"]), str(row["search"]["p95_milliseconds"])]
        print(f"| {name} | {row['questions']} | {' | '.join(cells)} |")
