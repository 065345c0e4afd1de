"""Stand-ins for unit tests, good enough to rank: an embedder that hashes words, a model that says what it is told."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from threading import Event

import numpy as np

from assistant.types import Message, Token, Vectors
from assistant.words import stems

DIMENSION = 256


class HashEmbedder:
    """Texts that share content words are near each other. Words count as tokens."""

    name = "hash"
    dimension = DIMENSION

    def __init__(self, max_tokens: int = 60) -> None:
        self.max_tokens = max_tokens
        self.seen: list[str] = []

    def count(self, text: str) -> int:
        return len(re.findall(r"\w+|[^\w\s]", text))

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.seen += texts
        vectors = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in enumerate(texts):
            for word in stems(text):
                vectors[row, int(hashlib.sha256(word.encode()).hexdigest(), 16) % DIMENSION] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


class ScriptedModel:
    """A language model that writes a fixed text, or what ``script`` makes of the prompt; it says yes to all."""

    name = "scripted"
    context_tokens = 4096

    def __init__(self, script: str | Callable[[Sequence[Message]], str]) -> None:
        self._script = script
        self.prompts: list[Sequence[Message]] = []
        self.asked: list[tuple[Sequence[Message], float]] = []
        self.consents = True

    def count(self, text: str) -> int:
        return len(text.split())

    def stream(self, messages: Sequence[Message], max_tokens: int, stop: Event) -> Iterator[Token]:
        self.prompts.append(messages)
        text = self._script(messages) if callable(self._script) else self._script
        for word in re.findall(r"\S+\s*|\s+", text)[:max_tokens]:
            if stop.is_set():
                return
            yield Token(word, 10, 0)

    def prefers(self, messages: Sequence[Message], text: str, other: str, lead: float, stop: Event) -> bool:
        self.asked.append((messages, lead))
        return self.consents

    def read_ahead(self, messages: Sequence[Message], stop: Event) -> bool:
        return False

    def close(self) -> None:
        pass
