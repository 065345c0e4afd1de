"""The prompts that are compared on nq: what a reader's question makes the model read, and all passages in full.

All are made of the same passages and end alike. This module does not know which engine reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant.ingestion.chunker import visible
from assistant.pipeline import OTHER_PASSAGES, OTHER_SENTENCES
from assistant.prompts import SYSTEM, answer_messages, passage
from assistant.retrieval.hybrid_search import Retriever
from assistant.retrieval.verifier import Verifier
from assistant.schemas import Chunk, Message, SearchResult

PASSAGES = 4
"""Passages that are read in full."""


def read(retriever: Retriever, question: str, results: Sequence[SearchResult]) -> list[Message]:
    """The prompt of the assistant: the best passage, and the nearest sentences of the next ones."""
    verifier = Verifier(retriever, question, results)
    others: dict[Chunk, list[str]] = {}
    for span in verifier.nearest(OTHER_SENTENCES, slice(1, 1 + OTHER_PASSAGES)):
        others.setdefault(span.chunk, []).append(visible(span.quote))
    return answer_messages(question, question, results[0].chunk, others.items())


def first(question: str, results: Sequence[SearchResult]) -> list[Message]:
    """The best passage alone."""
    return answer_messages(question, question, results[0].chunk, [])


def full(question: str, results: Sequence[SearchResult]) -> list[Message]:
    """The first `PASSAGES` passages, read from the first token to the last."""
    texts = (str(passage(result.chunk)) for result in results[:PASSAGES])
    return [Message("system", (SYSTEM,)), Message("user", ("Passages:\n\n", *texts, f"Question: {question}"))]
