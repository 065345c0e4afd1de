"""The prompts that are compared on nq: one passage that was chosen, several that are joined, or all read in full.

All are made of the same four unshortened passages and end alike. This module does not know which engine reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from assistant.choosing import choose
from assistant.prompts import begun, build_messages
from assistant.schemas import Message, SearchResult

PASSAGES = 4


def chosen(
    question: str, results: Sequence[SearchResult], look: Callable[[list[list[Message]]], Sequence[float]]
) -> list[Message]:
    """The prompt of the assistant, where it is sure of the passages; ``look`` tells the leads behind some prompts."""

    def looked(rivals: Sequence[SearchResult]) -> Sequence[float]:
        return look([build_messages(question, [rival]) for rival in rivals])

    passage = choose(results, lambda _: -math.inf, looked)
    return begun(build_messages(question, [passage] if passage else []))


def joined(question: str, results: Sequence[SearchResult], count: int) -> list[Message]:
    """The first ``count`` passages, each as it was read alone, one behind the other."""
    return begun(build_messages(question, results[:count]))


def full(question: str, results: Sequence[SearchResult]) -> list[Message]:
    """All passages, read from the first token to the last."""
    return unmarked(begun(build_messages(question, results)))


def unmarked(messages: Sequence[Message]) -> list[Message]:
    """The same text, in which no piece is marked as a passage: it is read like any other."""
    return [Message(message.role, tuple(map(str, message.pieces))) for message in messages]
