"""The gate that `make test` runs: small samples, real parts, and a floor under each number.

A floor lies a little below what was measured when it was set: all is deterministic, so that a fall below it is no
chance but a change. The figures are of a small corpus, and not comparable with the other measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import fmean

from assistant.pipeline import RESULTS, Assistant, open_retriever
from assistant.choosing import lead_needed
from assistant.conversation import standalone
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.grounding import Evidence, SentenceVectors
from assistant.ingestion.builder import build
from assistant.retrieval.hybrid_search import Retriever
from assistant.settings import Settings
from assistant.schemas import Conversation
from evaluation.citations import Check
from evaluation.data import SETS, Query, read_answers, read_queries, read_questions, write_corpus
from evaluation.questions import passed
from evaluation.retrieval import fused, ranked, scores

ASKED = 30
"""Questions of each set, and answers of clapnq."""
OTHERS = 60
"""Documents of each set beside those that answer."""
FLOORS = {
    "passages found (nDCG@10)": 0.975,
    "passages found for follow-ups (nDCG@10)": 0.965,
    "enough evidence (balanced accuracy)": 0.92,
    "errors withheld": 0.84,
    "true sentences shown": 0.88,
}
FIXED = ("q07", "d102", "r06")
"""Our own questions that the real model has to pass; of one it is asked whether a passage answers it, and none does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A part of the public sets, indexed, and the questions that it answers."""

    retriever: Retriever
    vectors: SentenceVectors
    queries: dict[str, list[Query]]


def open_sample(settings: Settings, folder: Path) -> Sample:
    """Write and index the sample in ``folder``, with the embedder of ``settings``."""
    queries = {name: read_queries(name, ASKED) for name in SETS}
    settings = replace(settings, knowledge=folder / "knowledge", index=folder / "index")
    write_corpus(
        settings.knowledge, {document for query in chain(*queries.values()) for document in query.relevant}, OTHERS
    )
    build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings))
    retriever = open_retriever(settings)
    return Sample(retriever, SentenceVectors(retriever.embedder), queries)


def passages(sample: Sample) -> dict[str, float]:
    """How well passages are found."""
    found = {name: [scores(q, ranked(sample.retriever, q, fused))[0] for q in sample.queries[name]] for name in SETS}
    return {
        "passages found (nDCG@10)": fmean(fmean(some) for some in found.values()),
        "passages found for follow-ups (nDCG@10)": fmean(found["mtrag_un"]),
    }


def evidence(sample: Sample) -> dict[str, float]:
    """How well it is told whether there is anything that answers."""
    return {"enough evidence (balanced accuracy)": _balanced_accuracy(sample)}


def sentences(sample: Sample) -> dict[str, float]:
    """How well true sentences are told from false ones."""
    checked = list(Check(sample.retriever, sample.vectors).of(read_answers(ASKED), seed=0))
    return {
        "errors withheld": fmean(not row.shown for row in checked if row.kind != "true"),
        "true sentences shown": fmean(row.shown for row in checked if row.kind == "true"),
    }


def below(numbers: dict[str, float]) -> list[str]:
    """The names of the numbers that lie below their floors."""
    return [name for name, number in numbers.items() if number < FLOORS[name]]


def failed(assistant: Assistant) -> list[str]:
    """The fixed questions on our own documents that are not passed, with what was answered."""
    asked = [question for question in read_questions("development") if question.identifier in FIXED]
    answers = [(question, assistant.ask(question.text, question.conversation)) for question in asked]
    return [f"{question.text}: {answer.text}" for question, answer in answers if not passed(question, answer)]


def _balanced_accuracy(sample: Sample) -> float:
    """Questions that the sample answers, and as many as of one set of our own, which have nothing to do with it."""

    def enough(question: str, conversation: Conversation = ()) -> bool:
        query = standalone(question, conversation, sample.retriever.nearness)
        strength = Evidence(sample.retriever.search(query, RESULTS), sample.vectors).strength(query)
        return lead_needed(strength, has_unknown_name=False, has_questions=False) < math.inf

    answered = fmean(enough(query.text, query.conversation) for query in chain(*sample.queries.values()))
    others = [question.text for question in read_questions("development") if question.kind == "answerable"]
    refused = fmean(not enough(text) for text in others[:ASKED])
    return (answered + refused) / 2
