"""How likely a prompt makes a given answer: the mean log-probability of the answer's tokens.

The engine tells no logits, but the difference of two. With the likeliest tokens set aside one after the other, `TOP`
differences give the sum that a log-probability needs, but for its smallest terms: what is told is a little too high,
and more so for a prompt that leaves the model less sure. So a loss is told a little too small.

It reaches into the engine's own parts, as nothing outside `evaluation/` may.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Event

from assistant.models.batching import Task, Work
from assistant.models.llama import LlamaModel
from assistant.models.sequences import Sequences, Stretch
from assistant.types import Message

TOP = 12
ASIDE = -1e4


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
        found.extend(_of_token(model._sequences, row, token) for row, token in enumerate(tokens))

    def end(error: Exception | None) -> None:
        failed.append(error)
        ended.set()

    model._batcher.submit(Task(work, len(prompt.tokens) + len(tokens), lambda: False, end))
    ended.wait()
    if failed[0]:
        raise failed[0]
    return sum(found) / len(found)


def _of_token(sequences: Sequences, row: int, token: int) -> float:
    """Log-probability of ``token`` by the logits of this row of the last batch."""
    best = sequences.likeliest(row)
    aside = [best]
    behind = [0.0]
    while len(aside) < TOP:
        following = sequences.likeliest(row, [(other, ASIDE) for other in aside])
        behind.append(sequences.difference(row, best, following))
        aside.append(following)
    own = behind[aside.index(token)] if token in aside else sequences.difference(row, best, token)
    whole = sum(math.exp(-difference) for difference in behind)
    return -own - math.log(whole + (0.0 if token in aside else math.exp(-own)))
