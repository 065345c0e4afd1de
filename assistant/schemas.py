"""The records that travel through Groundwork, and the Protocols of its two models.

Records are frozen; what can be derived is a property. This module knows nothing of how any of them is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Literal, Protocol
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Unit vectors, one a row: shape ``(count, dimension)``."""
Integers = NDArray[np.int32]
Bytes = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """A text as the embedder sees it: one vector of the whole, and one of each of its word pieces.

    Special tokens are left out. ``vector``: unit length, shape ``(dimension,)``. ``ids``: the tokens, shape ``(n,)``.
    ``spans``: where each token begins and ends in the text, in characters, shape ``(n, 2)``. ``tokens``: unit vectors
    times 127, shape ``(n, dimension)``.
    """

    vector: Vectors
    ids: Integers
    spans: Integers
    tokens: Bytes

    def part(self, start: int, end: int) -> Encoding:
        """The tokens that lie in the characters ``start`` to ``end``; ``vector`` stays that of the whole."""
        inside = (self.spans[:, 0] >= start) & (self.spans[:, 1] <= end)
        return Encoding(self.vector, self.ids[inside], self.spans[inside], self.tokens[inside])


Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Expansion:
    """Questions that one passage answers; ``digest`` is that of the passage's text when they were written."""

    heading: str
    digest: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One file of the knowledge folder, as text.

    ``path`` is relative to the folder and uses forward slashes; ``text`` is the whole file, front matter
    included, so that line numbers are those an editor shows; ``body_line`` is the number of lines before the
    body, its front matter; ``digest`` is the SHA-256 of the file's bytes, and of its expansion where it has one.
    ``expansion`` holds questions that the document answers (see `ingestion.expansion`); a document that was read from
    an index comes without.
    """

    path: str
    title: str
    summary: str
    text: str
    body_line: int
    digest: str
    expansion: tuple[Expansion, ...] = ()

    @property
    def body_offset(self) -> int:
        """Characters before the body."""
        return sum(len(line) + 1 for line in self.text.split("\n")[: self.body_line])


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not read, and why."""

    path: str
    reason: str


def place_address(document: str, offset: int, text: str) -> str:
    """The page that opens ``document`` where ``text`` stands, relative to the site's root."""
    return f"documents/{quote(document)}?at={offset}-{offset + len(text)}#place"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: a verbatim stretch of a document's text below one heading.

    ``headings`` is the path of headings from the outermost to the innermost, without the document's title.
    Lines count from 1 and include both ends. ``page`` is for formats that have pages. ``offset`` is the number of
    characters before the passage in the document.
    """

    document: str
    title: str
    headings: tuple[str, ...]
    text: str
    start_line: int
    end_line: int
    page: int | None = None
    offset: int = 0

    @property
    def heading_path(self) -> str:
        """``Title: Heading: Subheading``, for people and for the embedder."""
        return ": ".join((self.title, *self.headings))

    @property
    def embedding_text(self) -> str:
        """What the embedder reads: the heading path, then the passage."""
        return f"{self.heading_path}. {self.text}"

    @property
    def text_offset(self) -> int:
        """Where the passage begins in `embedding_text`."""
        return len(self.heading_path) + 2


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A chunk that retrieval found.

    ``score`` orders the results of one search; ``similarity`` is the cosine of chunk and question. ``encoding`` is
    that of `Chunk.embedding_text`.
    """

    identifier: int
    chunk: Chunk
    score: float
    similarity: float
    encoding: Encoding | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    content: str


Conversation = tuple[Turn, ...]
"""The turns before the question, oldest first."""


class Passage(str):
    """A piece of a prompt whose text does not depend on the question: an engine can reuse its KV cache."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt, in pieces; those that are a `Passage` stand together.

    Where the last one is the assistant's, the answer goes on from there.
    A piece is read by the model as text only: chat-template tokens inside it have no power.
    """

    role: Role
    pieces: tuple[str, ...]

    @property
    def text(self) -> str:
        """The pieces as one text."""
        return "".join(self.pieces)


Bias = tuple[tuple[str, float], ...]
"""Texts of one token each, and what is added to the logit of that token."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a model's stream yields: a piece of text, and how the prompt was read.

    ``prompt_tokens`` is the prompt's length; ``reused_tokens`` of them had been read before.
    """

    text: str
    prompt_tokens: int
    reused_tokens: int


@dataclass(frozen=True, slots=True)
class Citation:
    """One sentence of a document that supports a sentence of the answer.

    ``quote`` is verbatim: it is what stands ``offset`` characters into the document.
    """

    number: int
    document: str
    title: str
    heading: str
    quote: str
    start_line: int
    end_line: int
    page: int | None = None
    offset: int = 0

    @property
    def address(self) -> str:
        """The page that opens the document at this place, relative to the site's root."""
        return place_address(self.document, self.offset, self.quote)


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds since the question arrived, and token counts; ``None`` where it never came to that."""

    retrieve_ms: float
    first_token_ms: float | None = None
    first_sentence_ms: float | None = None
    total_ms: float = 0.0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    answer_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer. ``text`` carries its citations as ``[1]`` behind the sentence they support."""

    question: str
    query: str
    text: str
    refused: bool
    citations: tuple[Citation, ...]
    results: tuple[SearchResult, ...]
    withheld: int
    timings: Timings
    suggestions: tuple[str, ...] = ()
    """Questions to go on with, which the documents answer."""
    is_quoted: bool = False
    """Whether all of it is the documents' own words, for nothing that the model wrote was supported."""


@dataclass(frozen=True, slots=True)
class Found:
    """Event: passages were found, for the question first, and later for a sentence that they do not support."""

    query: str
    results: tuple[SearchResult, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """Event: one more checked piece of the answer, with the white space and markup that stood before it."""

    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """Event: the whole answer; always the last."""

    answer: Answer


AnswerEvent = Found | Sentence | Finished


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of long work has come: ``done`` of ``total`` units (bytes, chunks)."""

    step: str
    done: int = 0
    total: int = 0
    unit: str = ""


class Embedder(Protocol):
    """Texts → unit vectors."""

    @property
    def name(self) -> str:
        """What it is called to people and in the index's manifest."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens of one text that are read; what is beyond is not seen."""
        ...

    def count(self, text: str) -> int:
        """Tokens in ``text``, without the two that frame it."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit vector a text, shape ``(len(texts), dimension)``."""
        ...

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The vector of each text and of each of its tokens."""
        ...


class LanguageModel(Protocol):
    """Messages → tokens. An engine knows nothing of documents, retrieval or citations."""

    @property
    def name(self) -> str:
        """What it is called to people."""
        ...

    @property
    def is_concurrent(self) -> bool:
        """Whether another prompt may be asked, at little cost, while an answer is being written."""
        ...

    def stream(
        self, messages: Sequence[Message], max_tokens: int, stop: Event, attempt: int = 0, bias: Bias = ()
    ) -> Iterator[Token]:
        """Decode until the model's end of turn, ``max_tokens``, or soon after ``stop`` is set.

        ``attempt`` 0 is greedy, each other number gives another wording. ``bias`` is added to the logits of tokens,
        where the engine can.
        """
        ...

    def read_ahead(self, messages: Sequence[Message], stop: Event) -> bool:
        """Read the passages of a prompt in idle time, to have them read when a question comes.

        Returns:
            Whether they are kept now; ``False`` when this engine keeps none, has no room, or ``stop`` was set.
        """
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...
