"""One thread that reads for several readers at once (continuous batching).

A *task* is a generator: it yields the `Stretch` it wants read next, gets back the tokens that follow, and does what
it likes between. The batcher takes one stretch of every running task, reads them in one batch, and goes round. New
tasks join at the next round. One task at a time is in its *opening*, where it reads its prompt; the others wait for
it in order, because on a CPU two prompts read together only make both late. A task that is stopped leaves within
milliseconds, also in the middle of a batch, which is then read again without it. This module knows nothing of prompts,
passages or text.
"""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from threading import Condition, Thread
from typing import Any

from assistant.llm.sequences import BATCH_TOKENS, Interrupted, Sequences, Stretch

Work = Generator[Stretch, list[int], None]

SHARED_TOKENS = 48
"""Tokens of an opening that are read in one round while others are writing: they wait a second at most."""


@dataclass(eq=False, slots=True)
class Task:
    """Work for the batcher.

    Args:
        work: makes the generator, given the slot (a sequence of its own).
        tokens: memory it may need.
        is_stopped: whether it should end; asked every few milliseconds.
        end: called once when it has ended, with the error if there was one.
        idle: it runs only while nothing else does, and gives way at once.
    """

    work: Callable[[Task, int], Work]
    tokens: int
    is_stopped: Callable[[], bool]
    end: Callable[[Exception | None], None]
    idle: bool = False
    opening: bool = True
    slot: int = -1
    generator: Any = None
    stretch: Stretch | None = None
    done: int = 0
    """Tokens of ``stretch`` that have been read."""
    outputs: list[int] = field(default_factory=list)


class Batcher:
    """Runs tasks on the sequences of one model, in a thread of its own.

    Args:
        slots: the sequences that tasks may have, one each.
        memory: tokens that all running tasks may need together.
        reset: called when a task was ended inside its opening, to clear what it shared.
    """

    def __init__(self, sequences: Sequences, slots: range, memory: int, reset: Callable[[], None]) -> None:
        self._sequences = sequences
        self._free = list(slots)
        self._memory = memory
        self._reset = reset
        self._waiting: deque[Task] = deque()
        self._running: list[Task] = []
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()
        # a thread that reads while the interpreter is taken down would take the process down with it
        atexit.register(self.close)

    def submit(self, task: Task) -> None:
        """Run the task when it is its turn."""
        with self._changed:
            self._waiting.append(task)
            self._changed.notify()

    @property
    def busy(self) -> bool:
        """Whether a task that is not idle runs or waits."""
        with self._changed:
            return any(not task.idle for task in (*self._waiting, *self._running))

    def close(self) -> None:
        """End every task, then the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        atexit.unregister(self.close)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not self._waiting and not self._running:
                    self._changed.wait()
                if self._closed:
                    break
            try:
                self._round()
            except Exception as error:  # told to every reader; the thread goes on for the next ones
                for task in list(self._running):
                    self._finish(task, error)
        for task in (*self._running, *self._waiting):
            self._finish(task, None)

    def _round(self) -> None:
        for task in [task for task in self._running if self._must_go(task)]:
            self._finish(task, None)
        self._admit()
        for task in list(self._running):
            self._advance(task)
        if not self._running:
            return
        parts = self._parts()
        try:
            read = self._sequences.read([part for _, part in parts], lambda: any(map(self._must_go, self._running)))
        except Interrupted:
            return
        for (task, part), outputs in zip(parts, read, strict=True):
            task.done += len(part.tokens)
            task.outputs = outputs

    def _must_go(self, task: Task) -> bool:
        # an idle task gives way as soon as anybody waits
        return task.is_stopped() or self._closed or (task.idle and bool(self._waiting))

    def _admit(self) -> None:
        with self._changed:
            for left in [task for task in self._waiting if task.is_stopped()]:
                self._waiting.remove(left)
                self._finish(left, None)
            task = self._next()
            if task is None or not self._free:
                return
            needed = sum(running.tokens for running in self._running) + task.tokens
            if (task.idle and self._running) or (self._running and needed > self._memory):
                return
            self._waiting.remove(task)
            task.slot, task.opening = self._free.pop(), True
            self._running.append(task)
        task.generator = task.work(task, task.slot)

    def _next(self) -> Task | None:
        """Whose turn it is of those who wait, if it is anybody's: a short prompt goes before a long one."""
        if any(task.opening for task in self._running):
            return None
        return min(self._waiting, key=lambda task: (task.idle, task.tokens), default=None)

    def _advance(self, task: Task) -> None:
        """Give the task what it asked for, if that is complete, and take its next wish."""
        if task.stretch is not None and task.done < len(task.stretch.tokens):
            return
        try:
            task.stretch = next(task.generator) if task.stretch is None else task.generator.send(task.outputs)
            task.done = 0
        except StopIteration:
            task.opening = False
            self._finish(task, None)
        except Exception as error:
            self._finish(task, error)

    def _parts(self) -> list[tuple[Task, Stretch]]:
        """What is read in this round: whole stretches, but of a long one only as much as others can wait for."""
        limit = BATCH_TOKENS if len(self._running) == 1 else SHARED_TOKENS
        parts = []
        for task in self._running:
            stretch = task.stretch
            if stretch is None:
                continue
            tokens = stretch.tokens[task.done : task.done + limit]
            is_last = task.done + len(tokens) == len(stretch.tokens)
            parts.append((task, replace(stretch, tokens=tokens, outputs=stretch.outputs if is_last else 0)))
        return parts

    def _finish(self, task: Task, error: Exception | None) -> None:
        if task.generator is not None:
            task.generator.close()
        if task in self._running:
            self._running.remove(task)
            if task.opening:
                self._reset()
            self._sequences.cut(task.slot)
            self._free.append(task.slot)
        task.end(error)
