"""Answers, passages and documents → HTML and Markdown that cannot carry anything else along.

Documents' Markdown is rendered with raw HTML switched off, links only to http(s) and within the page, and images
as their description: a poisoned document can neither run a script nor make a browser ask another host.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib import parse

from markdown_it import MarkdownIt

from assistant.ingestion.sentences import sentence_spans
from assistant.retrieval.store import Topic
from assistant.schemas import Chunk, Citation, Document, SearchResult, place_address
from assistant.words import CITATION

# stand around quotes while Markdown is rendered; they are punctuation, so that what is emphasised stays so
_OPEN, _CLOSE = "⸨", "⸩"


# only what every renderer takes for code: a span on one line between as many backticks, and a fenced block
_CODE = re.compile(r"(?<![`\\])(`+)(?!`)[^`\n]+\1(?!`)|^(```+)[^`\n]*\n(?:[^`]*\n)?\2[ \t]*$", re.MULTILINE)

# the web, and other documents of the collection; nothing with another scheme, and nothing absolute
_OWN_LINKS = r"https?://|(?![a-zA-Z][\w+.-]*:|[/\\])"


def _markdown(links: str) -> MarkdownIt:
    """A parser that keeps links whose address matches ``links``, and shows others as they are written."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.disable("image")
    parser.validateLink = lambda url: bool(re.match(links, url))  # type: ignore[method-assign]
    return parser


def citation_link(citation: Citation) -> str:
    """``[[1]](address)``: the number, as a link to the place in the document."""
    return f"[[{citation.number}]]({citation.address})"


def linked(text: str, citations: Sequence[Citation]) -> str:
    """``text`` with every ``[n]`` of a citation turned into its link; other brackets stay text."""
    links = {str(citation.number): citation_link(citation) for citation in citations}

    def link(part: str) -> str:
        return CITATION.sub(lambda match: links.get(match.group(1), match.group()), part)

    return _outside_code(text, link)


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """``text`` with all that is no code changed; code is shown as it is written."""
    parts, start = [], 0
    for code in _CODE.finditer(text):
        parts += [change(text[start : code.start()]), code.group()]
        start = code.end()
    return "".join([*parts, change(text[start:])])


def safe_markdown(text: str) -> str:
    """A model's sentence for a page that renders Markdown: no HTML, no image, no link, no mathematics."""

    def safe(part: str) -> str:
        part = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", part)
        return part.replace("&", "&amp;").replace("<", "&lt;").replace("![", "[").replace("$", "&#36;")

    return _outside_code(text, safe)


def sources_html(citations: Sequence[Citation], results: Sequence[SearchResult]) -> str:
    """The passages behind an answer, the cited sentences marked, each with a link into its document.

    No line of it is empty, so that a Markdown component takes it as one block of HTML.
    """
    cards: list[tuple[int, str]] = []
    for chunk in (result.chunk for result in results):
        mine = [
            citation
            for citation in citations
            if citation.document == chunk.document
            and citation.quote in chunk.text
            and chunk.start_line <= citation.start_line <= chunk.end_line
        ]
        if mine:
            mine = sorted(set(mine), key=lambda citation: citation.number)
            numbers = " ".join(f"[{citation.number}]" for citation in mine)
            passage = _passage_html(chunk.text, [citation.quote for citation in mine])
            cards.append((mine[0].number, _card(numbers, chunk, passage, mine[0].address)))
    return _one_block(card for _, card in sorted(cards))


def searched_html(query: str) -> str:
    """What was searched for, where that is not the question as it was asked."""
    return f"<p class='searched'>Searched for: {html.escape(' '.join(query.split()))}</p>\n\n"


def next_html(questions: Sequence[str]) -> str:
    """Questions to go on with; the page's script asks them."""
    items = [f"<li><a href='?ask={parse.quote(question)}'>{html.escape(question)}</a></li>" for question in questions]
    return f"<nav class='next'><h3>Ask next</h3><ul>{''.join(items)}</ul></nav>\n\n" if items else ""


def topics_html(topics: Mapping[str, Sequence[Topic]]) -> str:
    """What there is to read, by folder: each document's title and summary, with a link."""
    parts = ["<h1>Topics</h1>"]
    for folder, documents in topics.items():
        if folder:
            parts.append(f"<h2>{html.escape(_folder_name(folder))}</h2>")
        items = [
            f"<li><a href='documents/{parse.quote(topic.path)}'>{html.escape(topic.title)}</a>"
            f"{f' {html.escape(topic.summary)}' if topic.summary else ''}</li>"
            for topic in documents
        ]
        parts.append(f"<ul class='topics'>{''.join(items)}</ul>")
    return "".join(parts)


def closest_html(results: Sequence[SearchResult], label: str = "Closest:") -> str:
    """Passages to look at while the model reads, or where none answers, each with a link; as one block of HTML."""
    cards = []
    for chunk in (result.chunk for result in results):
        # a whole passage may be a list or a table, which cannot be marked
        start, end = next(iter(sentence_spans(chunk.text)), (0, 0))
        address = place_address(chunk.document, chunk.offset + start, chunk.text[start:end])
        cards.append(_card(label, chunk, _passage_html(chunk.text, ()), address))
    return _one_block(cards)


def _card(label: str, chunk: Chunk, passage: str, address: str) -> str:
    heading = f"<p class='heading'>{html.escape(' › '.join(chunk.headings))}</p>" if chunk.headings else ""
    return (
        f"<article class='source'><h3>{label} {html.escape(chunk.title)}</h3>{heading}"
        f"<div class='passage'>{passage}</div>"
        f"<p><a href='{html.escape(address)}' target='_blank' rel='noopener'>Open the document here</a></p></article>"
    )


def _one_block(cards: Iterable[str]) -> str:
    return "".join(cards).replace("\n", "&#10;")


def _passage_html(text: str, quotes: Sequence[str]) -> str:
    text = text.replace(_OPEN, "(").replace(_CLOSE, ")")
    for quote in dict.fromkeys(quotes):
        text = text.replace(quote, f"{_OPEN}{quote}{_CLOSE}", 1)
    # a passage stands on another page than its document, so links within the collection become text there
    text = re.sub(r"\[([^\]]+)\]\((?!https?://)[^)]*\)", r"\1", text)
    rendered = str(_markdown("https?://").render(text))
    return rendered.replace(_OPEN, "<mark>").replace(_CLOSE, "</mark>")


def document_html(document: Document, start: int, end: int) -> str:
    """The whole document; characters ``start`` to ``end`` are marked and have the id ``place``."""
    text = document.text.replace(_OPEN, "(").replace(_CLOSE, ")")
    if document.body_offset <= start < end <= len(text):
        text = f"{text[:start]}{_OPEN}{text[start:end]}{_CLOSE}{text[end:]}"
    if document.path.lower().endswith((".md", ".markdown")):
        rendered = str(_markdown(_OWN_LINKS).render(text[document.body_offset :]))
    else:
        rendered = f"<pre class='plain'>{html.escape(text)}</pre>"
    return rendered.replace(_OPEN, "<mark id='place'>", 1).replace(_CLOSE, "</mark>", 1)


_LINK = re.compile(r" ?\[\[(\d+)\]\]\(documents/([^)\s?]+)\?at=(\d+)-(\d+)#place\)")


def unlinked(text: str) -> tuple[str, list[tuple[int, str, int, int]]]:
    """Undo `linked`: the answer with plain ``[n]``, and ``(n, document, start, end)`` of each citation once."""
    found = [(int(n), parse.unquote(path), int(start), int(end)) for n, path, start, end in _LINK.findall(text)]
    return _LINK.sub(r" [\1]", text), sorted(set(found))


def _folder_name(folder: str) -> str:
    """A folder's name as people read it."""
    return folder.replace("-", " ").replace("_", " ").capitalize()
