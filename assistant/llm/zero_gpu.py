"""A GPU that is lent for one answer at a time: ZeroGPU, on Hugging Face Spaces.

The process that serves has no GPU. What needs one runs in a process forked from it: the hub's package `spaces` starts
that process, gets it a GPU for the length of one call, and keeps it for the next call while the hub leaves it the GPU.
What goes there and comes back is pickled, so only numbers travel; the model itself is found in the memory that was
forked, and moved to the GPU over there. The hub refuses to start a Space that has not said before its page is launched
that something will want a GPU, and that is long before the model is loaded; so what is said is one function here that
runs whatever was lent a GPU since. This module knows nothing of models, prompts or text.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from contextlib import closing
from functools import cache
from typing import Any

from assistant.errors import ModelError

SECONDS = 30
"""For how long a GPU is asked for; who has less than that left of a day's share gets none."""

Task = Callable[..., Generator[int, None, None]]
"""What can run where the GPU is: numbers in, numbers out."""

_TASKS: list[Task] = []
"""What may be run on a GPU: a forked process finds it here, by its number."""


def announce() -> None:
    """Say that this Space will want a GPU; before torch or Gradio is imported, and so before the page is launched.

    Raises:
        ModelError: the package that lends GPUs is missing.
    """
    _borrowed()


def lent(task: Task) -> Task:
    """``task`` as one that runs on a GPU which is borrowed for each call.

    When the numbers are not read to the end, the task is stopped at its next number, and the GPU given back.

    Raises:
        ModelError: (when called) no GPU is to be had, or what ran on it failed.
    """
    _TASKS.append(task)
    number = len(_TASKS) - 1

    def on_a_gpu(*arguments: Any) -> Generator[int, None, None]:
        try:
            with closing(_borrowed()(number, *arguments)) as numbers:
                yield from numbers
        except Exception as error:  # Gradio's errors, broken connections: whatever the hub's package raises
            raise ModelError(
                f"The GPU that this Space is lent gave no answer ({error}). Please ask again in a minute; people who "
                "are signed in on Hugging Face get more of its time."
            ) from error

    return on_a_gpu


@cache
def _borrowed() -> Any:
    try:
        spaces = importlib.import_module("spaces")
    except ImportError as error:
        raise ModelError("This is a ZeroGPU Space without the package spaces: add it to requirements.txt.") from error
    return spaces.GPU(duration=SECONDS)(_run)


def _run(number: int, *arguments: Any) -> Generator[int, None, None]:
    yield from _TASKS[number](*arguments)
