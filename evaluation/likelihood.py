"""How likely a prompt makes a given answer: the mean log-probability of the answer's tokens.

It reaches into the engine's own parts, as nothing outside `evaluation/` may.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

import numpy as np

from assistant.llm.batching import Task, Work
from assistant.llm.llama_cpp import LlamaModel
from assistant.llm.sequences import Stretch
from assistant.schemas import Message


def log_probability(model: LlamaModel, messages: Sequence[Message], answer: str) -> float:
    """Mean natural logarithm of the probability of each token of ``answer`` after ``messages``."""
    prompt, tokens = model._prompt(messages), model._sequences.tokens(answer, is_template=False)
    found: list[float] = []
    failed: list[Exception | None] = []
    ended = Event()

    def work(task: Task, slot: int) -> Work:
        yield from model._splice(prompt, slot)
        # the prompt but for its last token, so that what follows is one small batch with known rows
        *unread, last = prompt.tokens[model._sequences.length(slot) :]
        yield Stretch(slot, unread)
        yield Stretch(slot, (last, *tokens[:-1]), len(tokens))
        found.extend(_of_token(model._sequences.logits(row), token) for row, token in enumerate(tokens))

    def end(error: Exception | None) -> None:
        failed.append(error)
        ended.set()

    model._batcher.submit(Task(work, len(prompt.tokens) + len(tokens), lambda: False, end))
    ended.wait()
    if failed[0]:
        raise failed[0]
    return sum(found) / len(found)


def _of_token(logits: Sequence[float], token: int) -> float:
    """Log-probability of ``token`` by the logits of all."""
    behind = np.asarray(logits) - max(logits)
    return float(behind[token] - np.log(np.exp(behind).sum()))
