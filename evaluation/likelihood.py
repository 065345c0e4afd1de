"""How likely a prompt makes what may follow it: the logits of every token, and the mean log-probability of an answer.

It reaches into the engine's own parts, as nothing outside `evaluation/` may.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

import numpy as np

from assistant.models.batching import Task, Work
from assistant.models.llama import LlamaModel
from assistant.models.sequences import Stretch
from assistant.types import Message


def log_probability(model: LlamaModel, messages: Sequence[Message], answer: str) -> float:
    """Mean natural logarithm of the probability of each token of ``answer`` after ``messages``."""
    tokens = model._sequences.tokens(answer, is_template=False)
    rows = logits_behind(model, messages, tokens[:-1])
    return sum(map(_of_token, rows, tokens)) / len(tokens)


def logits_behind(model: LlamaModel, messages: Sequence[Message], tokens: Sequence[int] = ()) -> list[Sequence[float]]:
    """The logits of every token behind ``messages``, and behind each of ``tokens`` that follow these."""
    prompt = model._prompt(messages)
    found: list[Sequence[float]] = []
    failed: list[Exception | None] = []
    ended = Event()

    def work(task: Task, slot: int) -> Work:
        yield from model._splice(prompt, slot)
        # the prompt but for its last token, so that what follows is one small batch with known rows
        *unread, last = prompt.tokens[model._sequences.length(slot) :]
        yield Stretch(slot, unread)
        yield Stretch(slot, (last, *tokens), 1 + len(tokens))
        found.extend(model._sequences.logits(row) for row in range(1 + len(tokens)))

    def end(error: Exception | None) -> None:
        failed.append(error)
        ended.set()

    model._batcher.submit(Task(work, len(prompt.tokens) + 1 + len(tokens), lambda: False, end))
    ended.wait()
    if failed[0]:
        raise failed[0]
    return found


def _of_token(logits: Sequence[float], token: int) -> float:
    """Log-probability of ``token`` by the logits of all."""
    behind = np.asarray(logits) - max(logits)
    return float(behind[token] - np.log(np.exp(behind).sum()))
