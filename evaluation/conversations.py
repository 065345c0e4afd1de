"""Follow-ups: how well passages are found for the last turn of a conversation, by what is searched for.

On mtrag_un, paired: the last turn alone, all of the reader's turns joined, and what the assistant searches for. Also
how many last turns are taken to lean on what was said before. A first turn is always searched for as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from assistant.pipeline import open_retriever
from assistant.conversation import leans, standalone
from assistant.settings import Settings
from evaluation.data import Query, open_corpus, read_queries
from evaluation.retrieval import fused, ranked, scores
from evaluation.statistics import interval, keep, show

SET = "mtrag_un"


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """The first ``limit`` answerable last turns; ``data`` is not used."""
    retriever = open_retriever(open_corpus(settings))
    queries = read_queries(SET, limit)
    ways: dict[str, Callable[[Query], str]] = {
        "last turn alone": lambda query: query.text,
        "all turns joined": lambda query: " ".join([*_asked(query), query.text]),
        "as searched for": lambda query: standalone(query.text, query.conversation, retriever.nearness),
    }
    found = {
        name: [
            # asked as a first turn, so that it is searched for as it is
            scores(query, ranked(retriever, replace(query, text=way(query), conversation=()), fused))[0]
            for query in queries
        ]
        for name, way in ways.items()
    }
    alone = found["last turn alone"]
    result: dict[str, Any] = {
        "set": SET,
        "seed": seed,
        "questions": len(queries),
        "with earlier turns": sum(bool(query.conversation) for query in queries),
        "taken to lean": sum(bool(query.conversation) and leans(query.text) for query in queries),
        "ndcg@10": {name: interval(values, seed) for name, values in found.items()},
        "against last turn alone": {
            name: interval([value - other for value, other in zip(values, alone, strict=True)], seed)
            for name, values in found.items()
        },
    }
    path = keep("conversations", result)
    for name, value in result["ndcg@10"].items():
        against = show(result["against last turn alone"][name])
        print(f"{name}: nDCG@10 {show(value)}, against the last turn alone {against}")
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _asked(query: Query) -> list[str]:
    return [turn.content for turn in query.conversation if turn.role == "user"]
