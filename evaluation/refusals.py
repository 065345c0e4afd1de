"""What is refused: questions that the documents answer, and questions that they do not.

*Gate*: the decision before the model is asked, over all questions, with its operating curve; the bar of each set is
also chosen on the other sets, to see what it costs on documents that it was not chosen for. *End to end*: what a
reader gets, with the real model, on a sample; `limit` bounds it, because the passages of each question are read first
(about 15 s a question on two cores). Sets: clapnq and mtrag_un, whose unanswerable questions are on the very topics of
their passages, and nq asked of our own documents, which have nothing to do with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from assistant.pipeline import RESULTS, Assistant, open_retriever
from assistant.choosing import ENOUGH
from assistant.conversation import standalone
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.grounding import Evidence, SentenceVectors
from assistant.ingestion.builder import build
from assistant.progress import ProgressBar
from assistant.retrieval.hybrid_search import Retriever
from assistant.settings import Settings
from assistant.schemas import Progress
from evaluation.data import Query, open_corpus, read_queries, read_unanswerable
from evaluation.statistics import interval, keep, show

SETS = ("clapnq", "mtrag_un", "off-topic")
BARS = tuple(round(0.5 + 0.05 * step, 2) for step in range(19))
"""Strengths of evidence at which the curve is told."""
MOST_FALSE = 0.10
"""The share of false refusals at which the bar is chosen on other sets."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, whether the documents answer it, and how strong its evidence is."""

    query: Query
    answerable: bool
    strength: float


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """The gate over all questions, and end to end over ``limit`` answerable and unanswerable ones of each set."""
    with ProgressBar() as bar:
        build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings), bar.show)
        corpus = open_corpus(settings)
        names = [data] if data else SETS
        asked: dict[str, list[Asked]] = {}
        for name in names:
            retriever = open_retriever(settings if name == "off-topic" else corpus)
            asked[name] = _asked(retriever, name, bar)
        result: dict[str, Any] = {"seed": seed, "bar": ENOUGH, "gate": _gate(asked)}
        answered: dict[str, list[tuple[bool, bool]]] = {}
        for name in names:
            assistant = Assistant.from_settings(settings if name == "off-topic" else corpus, bar.show)
            answered[name] = []
            for one in _sample(asked[name], limit, seed):
                bar.show(Progress(f"Asking {name}", len(answered[name]), unit="questions"))
                answer = assistant.ask(one.query.text, one.query.conversation)
                answered[name].append((one.answerable, answer.refused))
            result["model"] = assistant.model.name
            assistant.model.close()
    result["end_to_end"] = {name: _rates(rows, seed) for name, rows in answered.items()}
    path = keep(f"refusals_{data}" if data else "refusals", result)
    for name, rates in result["end_to_end"].items():
        print(f"{name}: " + ", ".join(f"{kind} {show(rate)}" for kind, rate in rates.items() if isinstance(rate, dict)))
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _asked(retriever: Retriever, name: str, bar: ProgressBar) -> list[Asked]:
    if name == "off-topic":
        pairs = [(query, False) for query in read_queries("nq")]
    else:
        pairs = [(query, True) for query in read_queries(name)]
        pairs += [(query, False) for query in read_unanswerable(name)]
    vectors = SentenceVectors(retriever.embedder)
    found: list[Asked] = []
    for query, answerable in pairs:
        bar.show(Progress(f"Searching for {name}", len(found), len(pairs), "questions"))
        text = standalone(query.text, query.conversation, retriever.nearness)
        strength = Evidence(retriever.search(text, RESULTS), vectors).strength(text)
        found.append(Asked(query, answerable, round(strength, 4)))
    return found


def _gate(asked: dict[str, list[Asked]]) -> dict[str, Any]:
    """At each bar, the share of answerable questions refused, and of the others answered; and bars from other sets."""
    told: dict[str, Any] = {}
    for name, some in asked.items():
        yes = np.array([one.strength for one in some if one.answerable])
        no = np.array([one.strength for one in some if not one.answerable])
        others = [o.strength for other, rows in asked.items() if other != name for o in rows if o.answerable]
        bar = float(np.quantile(others, MOST_FALSE)) if others else ENOUGH
        told[name] = {
            "curve": [[bar, *_at(yes, no, bar)] for bar in BARS],
            "bar_from_other_sets": round(bar, 3),
            "at_that_bar": _at(yes, no, bar),
        }
    return told


def _at(yes: Any, no: Any, bar: float) -> list[float | None]:
    """False refusals and missed refusals at this bar."""
    return [round(float((yes < bar).mean()), 4) if len(yes) else None, round(float((no >= bar).mean()), 4)]


def _sample(asked: Sequence[Asked], limit: int, seed: int) -> list[Asked]:
    kinds = [[one for one in asked if one.answerable is answerable] for answerable in (True, False)]
    return [one for kind in kinds for one in Random(seed).sample(kind, min(limit, len(kind)))]


def _rates(rows: Sequence[tuple[bool, bool]], seed: int) -> dict[str, Any]:
    """False and missed refusals, and the mean of what is right on either side."""
    false = [float(refused) for answerable, refused in rows if answerable]
    missed = [float(not refused) for answerable, refused in rows if not answerable]
    rates: dict[str, Any] = {"answerable": len(false), "unanswerable": len(missed)}
    if false:
        rates["false refusals"] = interval(false, seed)
    if missed:
        rates["missed refusals"] = interval(missed, seed)
    if false and missed:
        rates["balanced_accuracy"] = round(1 - (float(np.mean(false)) + float(np.mean(missed))) / 2, 4)
    return rates
