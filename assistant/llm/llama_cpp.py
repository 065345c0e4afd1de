"""The CPU engine: GGUF weights through llama.cpp, where the KV cache of a passage is computed once, not per question.

Nearly all the time before the first word of an answer goes into prefill, and most of the prompt was known before: the
system message, and the passage that comes first. So the keys and values of each passage are computed once, behind the
fixed beginning of every prompt, kept on disk (`kv_cache`), and restored into later prompts. The passage then stands
exactly where it was computed, so nothing is lost; only what depends on the question is read afresh. Prompt Cache (Gim
et al., MLSys 2024) and TurboRAG (2024) describe the idea.

Several requests are served at once by `batching`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

from assistant.errors import ModelError
from assistant.llm.batching import Batcher, Task, Work
from assistant.llm.growing import GrowingText
from assistant.llm.kv_cache import StateStore
from assistant.llm.sequences import MEMORY_TOKENS, Choice, Sequences, Stretch
from assistant.llm.template import render
from assistant.schemas import Bias, Message, Passage, Token

CONTEXT_TOKENS = 4096
READERS = 8
"""Questions that are answered at the same time."""
PREFIX, SCRATCH = 0, 1
"""The sequences that hold the beginning of every prompt, and a passage that is being read or restored."""
SLOTS = range(2, 2 + 2 * READERS)
"""Each reader may ask one thing more while an answer is being written."""
PREFIX_TOKENS = 512
"""Memory set aside for the beginning."""
IDLE_SECONDS = 0.2
"""How often it is looked whether the readers have gone."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt in tokens: what begins every prompt, the passage, and what is read afresh."""

    prefix: tuple[int, ...]
    passage: tuple[int, ...]
    rest: tuple[int, ...]

    @property
    def tokens(self) -> list[int]:
        return [*self.prefix, *self.passage, *self.rest]


class LlamaModel:
    """A `LanguageModel` on llama.cpp; safe to call from several threads, which are served together.

    Args:
        path: a GGUF file.
        name: what the model is called to people.
        threads: CPU threads.
        states: where what was read is kept; `None` keeps nothing.

    Raises:
        ModelError: `cyllama` is not installed, or the file cannot be loaded.
    """

    def __init__(self, path: Path, name: str, threads: int, states: StateStore | None = None) -> None:
        self.name = name
        self.is_concurrent = True
        self._sequences = Sequences(path, threads, SLOTS.stop)
        self._context_tokens = min(CONTEXT_TOKENS, self._sequences.trained_tokens)
        self._states = states or StateStore(Path(), 0)
        self._make = f"{_fingerprint(path)} cyllama {self._sequences.version} f16"
        self._prefix: tuple[int, ...] = ()
        memory = MEMORY_TOKENS - PREFIX_TOKENS
        self._batcher = Batcher(self._sequences, SLOTS, memory, self._reset)

    def stream(
        self, messages: Sequence[Message], max_tokens: int, stop: Event, attempt: int = 0, bias: Bias = ()
    ) -> Iterator[Token]:
        """Decode greedily, or sampled where ``attempt`` is not 0; a stop is noticed within some ten milliseconds.

        Raises:
            ModelError: prompt and answer do not fit the context.
        """
        prompt = self._prompt(messages)
        size = self._size(prompt, max_tokens)
        chosen = (attempt, tuple((self._sequences.tokens(text, False)[0], value) for text, value in bias))
        growing = GrowingText(self._sequences.text)

        def work(task: Task, slot: int, tell: Callable[[tuple[int, int]], None]) -> Work:
            reused = yield from self._splice(prompt, slot)
            yield from self._write(task, prompt, slot, max_tokens, chosen, lambda token: tell((token, reused)))

        for token, reused in self._told(work, size + max_tokens, stop):
            yield Token(growing.add(token), size, reused)

    def _size(self, prompt: _Prompt, max_tokens: int) -> int:
        """How many tokens the prompt has, if an answer of ``max_tokens`` fits behind it."""
        size = len(prompt.tokens)
        if size + max_tokens > self._context_tokens:
            raise ModelError(
                f"A prompt of {size} tokens and an answer of {max_tokens} do not fit the "
                f"{self._context_tokens} tokens of {self.name}: ask a shorter question."
            )
        return size

    def _told(
        self,
        work: Callable[[Task, int, Callable[[Any], None]], Work],
        tokens: int,
        stop: Event,
    ) -> Generator[Any, None, None]:
        """What the work tells, as it runs among other readers' work; ending the iteration ends it."""
        left, events = Event(), SimpleQueue[Any]()

        def begin(task: Task, slot: int) -> Work:
            return work(task, slot, events.put)

        def is_stopped() -> bool:
            return stop.is_set() or left.is_set()

        self._batcher.submit(Task(begin, tokens, is_stopped, events.put))
        try:
            while (event := events.get()) is not None:
                if isinstance(event, Exception):
                    raise self._failure(event) from event
                yield event
        finally:
            left.set()

    def _failure(self, error: Exception) -> ModelError:
        return ModelError(f"{self.name} failed ({error}): ask again, or start the program anew.")

    def read_ahead(self, messages: Sequence[Message], stop: Event) -> bool:
        """Compute the KV cache of the passage of this prompt, giving way to every question.

        Returns:
            Whether it is kept now; ``False`` when there is no room for more, or ``stop`` was set.

        Raises:
            ModelError: the engine failed.
        """
        prompt = self._prompt(messages)
        while not self._states.has(self._key(prompt.prefix, prompt.passage)):
            if stop.is_set() or not self._states.has_room(self._sequences.state_bytes * len(prompt.passage)):
                return False
            self._read_when_idle(prompt.prefix, prompt.passage, stop)
        return True

    def _read_when_idle(self, prefix: tuple[int, ...], passage: tuple[int, ...], stop: Event) -> None:
        ended = SimpleQueue[Exception | None]()

        def work(task: Task, slot: int) -> Work:
            yield from self._begin(prefix)
            yield from self._read_once(prefix, passage, SCRATCH)
            self._sequences.cut(SCRATCH)

        while self._batcher.busy and not stop.is_set():
            time.sleep(IDLE_SECONDS)
        size = len(prefix) + len(passage)
        self._batcher.submit(Task(work, size, stop.is_set, ended.put, idle=True))
        if error := ended.get():
            raise self._failure(error) from error

    def _prompt(self, messages: Sequence[Message]) -> _Prompt:
        prefix: list[int] = []
        passage: tuple[int, ...] = ()
        rest: list[int] = []
        parts = render(messages, self._sequences.fill_template)
        last = max((i for i, part in enumerate(parts) if isinstance(part.text, Passage)), default=-1)
        for position, part in enumerate(parts):
            tokens = self._sequences.tokens(part.text, part.is_template)
            if isinstance(part.text, Passage):
                passage = tuple(tokens)
            elif position > last:
                rest += tokens
            else:
                prefix += tokens
        return _Prompt(tuple(prefix), passage, tuple(rest))

    def _splice(self, prompt: _Prompt, slot: int) -> Generator[Stretch, list[int], int]:
        """Put the beginning and the passage into the slot; how many tokens did not have to be read."""
        if not prompt.passage:
            return 0
        reused = yield from self._begin(prompt.prefix)
        self._sequences.copy(PREFIX, slot)
        reused += yield from self._read_once(prompt.prefix, prompt.passage, SCRATCH)
        self._sequences.copy(SCRATCH, slot)
        self._sequences.cut(SCRATCH)
        return reused

    def _begin(self, prefix: tuple[int, ...]) -> Generator[Stretch, list[int], int]:
        """See to it that `PREFIX` holds this beginning."""
        if prefix == self._prefix:
            return len(prefix)
        self._sequences.cut(PREFIX)
        self._prefix = ()
        reused = 0
        if prefix:
            reused = yield from self._read_once((), prefix, PREFIX)
        self._prefix = prefix
        return reused

    def _read_once(
        self, prefix: tuple[int, ...], tokens: tuple[int, ...], sequence: int
    ) -> Generator[Stretch, list[int], int]:
        """Restore these tokens into an empty sequence, or read them behind ``prefix`` and keep them."""
        key = self._key(prefix, tokens)
        state = self._states.get(key)
        if state is not None and self._sequences.restore(state, sequence, len(prefix), len(tokens)):
            return len(tokens)
        if prefix:
            self._sequences.copy(PREFIX, sequence)
        yield Stretch(sequence, tokens)
        self._states.put(key, self._sequences.save(sequence, len(prefix)))
        return 0

    def _key(self, prefix: tuple[int, ...], tokens: tuple[int, ...]) -> str:
        return hashlib.sha256(f"{self._make} {prefix} {tokens}".encode()).hexdigest()

    def _write(
        self, task: Task, prompt: _Prompt, slot: int, max_tokens: int, chosen: Choice, tell: Callable[[int], None]
    ) -> Work:
        """Read the rest of the prompt, and write the answer, token by token."""
        (token,) = yield Stretch(slot, prompt.tokens[self._sequences.length(slot) :], 1, chosen)
        task.opening = False
        for left in reversed(range(max_tokens)):
            if self._sequences.is_end(token):
                return
            tell(token)
            if left:
                (token,) = yield Stretch(slot, (token,), 1, chosen)

    def _reset(self) -> None:
        """After a task that ended while it was opening: forget what it had half read."""
        self._sequences.cut(SCRATCH)
        if not self._prefix:
            self._sequences.cut(PREFIX)

    def close(self) -> None:
        """Give the memory back; the model cannot be used afterwards."""
        self._batcher.close()
        self._sequences.close()


def _fingerprint(path: Path) -> str:
    """Tells files of weights apart without reading them whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(1 << 20))
        file.seek(max(0, size - (1 << 20)))
        digest.update(file.read())
    return f"{size} {digest.hexdigest()}"
