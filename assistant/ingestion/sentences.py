"""Text → sentences, lists and code, as offsets, so that a quote is always verbatim.

Lines that stand alone in Markdown (list items, headings, table rows) end a sentence too; a fenced block of code is one
sentence. The rules are for European languages: full stops, capitals and common abbreviations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate

from markdown_it import MarkdownIt

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_ABBREVIATIONS = frozenset(
    "al approx cf co corp dept dr ed eds eg e.g ev etc fig figs gen i.e ie inc jr ltd mr mrs ms no nos p pp prof resp "
    "sec sr st u.k u.s univ vol vs".split()
)
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s|$)|[。！？]+")
ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+")
"""The marker of a list item."""
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*\n.*?(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_LISTS = {"bullet_list_open": "list_item_open", "ordered_list_open": "list_item_open", "tbody_open": "tr_open"}
_BLOCK = re.compile(r"\n[ \t]*\n|\n(?=\s*(?:[-*+•]\s|\d{1,3}[.)]\s|#{1,6}\s|\|))|(?<=\|)\n")


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """``(start, end)`` of every sentence, without the white space around it.

    A list marker (``- ``, ``1. ``) or heading marker is not part of its sentence. HTML comments, which no reader of the
    document sees, belong to none.
    """
    text = COMMENT.sub(lambda match: " " * len(match.group()), text)
    start = 0
    for fence in [*_FENCE.finditer(text), None]:
        yield from _in_blocks(text, start, fence.start() if fence else len(text))
        if fence:
            yield from _stripped(text, fence.start(), fence.end())
            start = fence.end()


def list_spans(text: str) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """``(start, end, items)`` of every list and table of Markdown: the whole block, and each item or row in it."""
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]

    def span(lines: list[int]) -> tuple[int, int]:
        start, end = starts[lines[0]], min(starts[min(lines[1], len(starts) - 1)], len(text))
        return start, start + len(text[start:end].rstrip())

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for position, token in enumerate(tokens):
        if token.type not in _LISTS or token.map is None or token.level > 1:
            continue
        inner = [
            span(other.map)
            for other in tokens[position:]
            if other.type == _LISTS[token.type]
            and other.level == token.level + 1
            and other.map
            and token.map[0] <= other.map[0] < token.map[1]
        ]
        # a table is shown with its header
        table = next((t.map for t in reversed(tokens[:position]) if t.type == "table_open"), None)
        yield (*span(table if token.type == "tbody_open" and table else token.map), inner)


def _in_blocks(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    for block in [*_BLOCK.finditer(text, start, stop), None]:
        end = block.start() if block else stop
        yield from _in_block(text, start, end)
        start = block.end() if block else end


def _in_block(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    heading = re.compile(r"\s*#{1,6}[ \t]+").match(text, start, end)
    if heading:
        line_end = text.find("\n", heading.end(), end)
        line_end = end if line_end < 0 else line_end
        yield from _in_run(text, heading.end(), line_end)
        start = line_end
    quote = re.compile(r"\s*>\s*").match(text, start, end)
    start = quote.end() if quote else start
    item = ITEM.match(text, start, end)
    yield from _in_run(text, item.end() if item else start, end)


def _in_run(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in _END.finditer(text, start, end):
        if not _ends_sentence(text, start, match, end):
            continue
        yield from _stripped(text, start, match.end())
        start = match.end()
    yield from _stripped(text, start, end)


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if any(character.isalnum() for character in text[start:end]):
        yield start, end


def _ends_sentence(text: str, start: int, match: re.Match[str], end: int) -> bool:
    if not match.group().startswith("."):
        return True
    before = text[start : match.start()].rsplit(None, 1)
    word = before[-1].lower().lstrip("(\"'“‘[") if before else ""
    following = text[match.end() : end].lstrip()
    if not following:
        return True
    if match.group() == "." and (word in _ABBREVIATIONS or re.fullmatch(r"[a-z]", word)):
        # "et al. 2017" and "J. Smith" go on; "in the U.S. The next" cannot be told, and goes on too
        return False
    return not following[0].islower()


class SentenceBuffer:
    """Text that arrives in pieces → sentences, each as soon as it is known to be complete.

    Every sentence comes with what stood before it (white space, list marker), so that joining all pairs gives the
    text back. A sentence is complete when the next one has begun.
    """

    def __init__(self) -> None:
        self._text = ""
        self._taken = 0

    def feed(self, text: str) -> Iterator[tuple[str, str]]:
        """Take more text; yield ``(lead, sentence)`` for what is complete."""
        self._text += text
        yield from self._new(list(sentence_spans(self._text))[:-1])

    def flush(self) -> Iterator[tuple[str, str]]:
        """The text is at its end: yield what is left."""
        yield from self._new(list(sentence_spans(self._text)))

    def _new(self, spans: list[tuple[int, int]]) -> Iterator[tuple[str, str]]:
        for start, end in spans:
            if start >= self._taken:
                lead, self._taken = self._text[self._taken : start], end
                yield lead, self._text[start:end]
