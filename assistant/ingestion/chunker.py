"""Document → `Chunk`s: by heading, then block, then sentence, then word, until each fits the embedder.

A chunk is a verbatim stretch of the document that lies below one heading and knows its lines. How long a text is,
the caller says (``count``); this module knows neither embedder nor index.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.token import Token

from assistant.ingestion.loaders import MARKDOWN
from assistant.ingestion.sentences import COMMENT, sentence_spans
from assistant.schemas import Chunk, Document

VERSION = 1
"""Raised when the same document would give other chunks than before; an index of another version is rebuilt."""

HEADING_SHARE = 0.25
"""The heading path may take this share of what the embedder reads; longer ones are embedded cut."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Characters ``start`` to ``end`` of the document, below ``headings``."""

    start: int
    end: int
    headings: tuple[str, ...]


def split_document(document: Document, count: Callable[[str], int], max_tokens: int) -> list[Chunk]:
    """Cut ``document`` into chunks.

    Args:
        count: tokens in a text, as the embedder counts them.
        max_tokens: tokens that the heading path and the passage may have together.
    """
    markdown = document.path.lower().endswith(tuple(MARKDOWN))
    blocks = _markdown_blocks(document) if markdown else _text_blocks(document)
    line_starts = [0, *accumulate(len(line) + 1 for line in document.text.split("\n"))]
    chunks: list[Chunk] = []
    for group in _groups(blocks):
        headings = group[0].headings
        prefix = Chunk(document.path, document.title, headings, "", 1, 1).embedding_text
        budget = max_tokens - min(count(prefix), int(max_tokens * HEADING_SHARE))
        pieces = [piece for block in group for piece in _fitting(document.text, block.start, block.end, count, budget)]
        for start, end in _packed(document.text, pieces, count, budget):
            chunks.append(
                Chunk(
                    document=document.path,
                    title=document.title,
                    headings=headings,
                    text=document.text[start:end],
                    start_line=_line(line_starts, start),
                    end_line=_line(line_starts, end - 1),
                    offset=start,
                )
            )
    return chunks


def _line(line_starts: list[int], offset: int) -> int:
    return bisect_right(line_starts, offset)


def _groups(blocks: Iterator[_Block]) -> Iterator[list[_Block]]:
    """Neighbouring blocks below the same heading."""
    group: list[_Block] = []
    for block in blocks:
        if group and group[0].headings != block.headings:
            yield group
            group = []
        group.append(block)
    if group:
        yield group


def _markdown_blocks(document: Document) -> Iterator[_Block]:
    lines = document.text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    # the front matter is left out, its lines are kept, so that the parser counts as an editor does
    body = "\n" * document.body_line + "\n".join(lines[document.body_line :])
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    path: list[tuple[int, str]] = []
    for position, token in enumerate(tokens):
        if token.level or token.map is None or token.nesting < 0:
            continue
        if token.type == "heading_open":
            depth = int(token.tag[1:])
            path = [entry for entry in path if entry[0] < depth]
            path.append((depth, plain_text(tokens[position + 1].content)))
            continue
        headings = tuple(text for depth, text in path if text and not (depth == 1 and text == document.title))
        first, last = token.map
        start, end = _trimmed(document.text, starts[first], min(starts[last], len(document.text)))
        if start < end and token.type != "hr":
            yield _Block(start, end, headings)


def _text_blocks(document: Document) -> Iterator[_Block]:
    start = 0
    for gap in [*re.finditer(r"\n[ \t]*\n\s*", document.text), None]:
        first, last = _trimmed(document.text, start, gap.start() if gap else len(document.text))
        if first < last:
            yield _Block(first, last, ())
        start = gap.end() if gap else start


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip("\n")), end - (len(part) - len(part.rstrip()))


def _fitting(
    text: str, start: int, end: int, count: Callable[[str], int], budget: int, depth: int = 0
) -> Iterator[tuple[int, int]]:
    """Cut one block into spans of at most ``budget`` tokens, at the coarsest boundary that does it."""
    # what is surely too long need not be counted
    if end - start <= 1 or (end - start <= budget * 16 and count(text[start:end]) <= budget):
        yield start, end
        return
    cutters = (_by_line, _by_sentence, _by_word, _by_length)
    spans = [span for span in cutters[depth](text, start, end, budget) if span[0] < span[1]]
    for first, last in spans:
        yield from _fitting(text, first, last, count, budget, min(depth + 1, len(cutters) - 1))


def _by_line(text: str, start: int, end: int, budget: int) -> Iterator[tuple[int, int]]:
    """Between list items, table rows and lines of code; a wrapped paragraph stays whole for the next cutter."""
    code = text.startswith(("```", "~~~", "    "), start)
    boundary = re.compile(r"\n" if code else r"\n(?=[ \t]*(?:[-*+]\s|\d{1,3}[.)]\s|\|)|(?:[^\n]*\n){0,1}```)")
    for match in boundary.finditer(text, start, end):
        yield _trimmed(text, start, match.start())
        start = match.end()
    yield _trimmed(text, start, end)


def _by_sentence(text: str, start: int, end: int, budget: int) -> Iterator[tuple[int, int]]:
    previous = start
    spans = [(start + first, start + last) for first, last in sentence_spans(text[start:end])]
    for first, _last in spans[1:]:
        yield _trimmed(text, previous, first)
        previous = first
    yield previous, end


def _by_word(text: str, start: int, end: int, budget: int) -> Iterator[tuple[int, int]]:
    """Runs of words that are sure to fit: a word is taken for as many tokens as it has characters, at most eight."""
    first, weight = start, 0
    for match in re.finditer(r"\S+", text[start:end]):
        word = match.group()
        size = min(len(word), 8) if word.isascii() and len(word) <= 32 else len(word.encode())
        if weight and weight + size > budget:
            yield _trimmed(text, first, start + match.start())
            first, weight = start + match.start(), 0
        weight += size
    yield first, end


def _by_length(text: str, start: int, end: int, budget: int) -> Iterator[tuple[int, int]]:
    step = max(1, budget // 4)  # a character is at most four tokens
    for first in range(start, end, step):
        yield first, min(first + step, end)


def _packed(
    text: str, pieces: list[tuple[int, int]], count: Callable[[str], int], budget: int
) -> Iterator[tuple[int, int]]:
    """Join neighbouring pieces while they fit."""
    start = end = -1
    for first, last in pieces:
        if start >= 0 and count(text[start:last]) <= budget:
            end = last
            continue
        if start >= 0:
            yield start, end
        start, end = first, last
    if start >= 0:
        yield start, end


def plain_text(markdown: str) -> str:
    """Markdown without its marks: emphasis, code, links and images become their text; code stays as it is written."""
    lines: list[str] = []
    for token in _INLINE.parse(markdown):
        if token.type in {"fence", "code_block", "html_block"}:
            lines.append(token.content.strip("\n"))
        elif token.type == "inline":
            lines.append("".join(_inline_text(token.children or [])))
    return "\n".join(lines).strip()


def visible(text: str) -> str:
    """``text`` without comments and characters that no reader of the document sees."""
    return _INVISIBLE.sub("", COMMENT.sub("", text))


_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
_INLINE = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _inline_text(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "image":
            yield from _inline_text(token.children or [])
        else:
            yield "\n" if token.type in {"softbreak", "hardbreak"} else token.content
