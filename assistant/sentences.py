"""Text → sentences, as offsets, so that a quote is always verbatim.

Lines that stand alone in Markdown (list items, headings, table rows) end a sentence too. The rules are for
European languages; it does not know grammar, only full stops, capitals and common abbreviations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_ABBREVIATIONS = frozenset(
    "al approx cf co corp dept dr ed eds eg e.g ev etc fig figs gen i.e ie inc jr ltd mr mrs ms no nos p pp prof resp "
    "sec sr st u.k u.s univ vol vs".split()
)
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s|$)|[。！？]+")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_BLOCK = re.compile(r"\n[ \t]*\n|\n(?=\s*(?:[-*+•]\s|\d{1,3}[.)]\s|#{1,6}\s|\|))|(?<=\|)\n")


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """``(start, end)`` of every sentence, without the white space around it.

    A list marker (``- ``, ``1. ``) or heading marker is not part of its sentence. HTML comments, which no reader of the
    document sees, belong to none.
    """
    text = COMMENT.sub(lambda match: " " * len(match.group()), text)
    start = 0
    for block in [*_BLOCK.finditer(text), None]:
        end = block.start() if block else len(text)
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
    item = _ITEM.match(text, start, end)
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
