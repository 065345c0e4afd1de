"""The documents that come with it: sources named and used, links that lead somewhere, sections that stand alone."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from assistant.ingestion import expansion
from assistant.ingestion.chunker import split_document
from assistant.ingestion.loaders import read_folder
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.schemas import Document

KNOWLEDGE = Path(__file__).parent.parent / "knowledge"
PATHS = sorted(path.relative_to(KNOWLEDGE).as_posix() for path in KNOWLEDGE.rglob("*.md"))
REFERENCE = {"overview/glossary.md", "overview/timeline.md", "models/notable-models.md"}
"""A row or a term each below a heading of its own: not bound to a length."""
FEWEST_WORDS, MOST_WORDS, MOST_IN_SECTION = 600, 1_400, 250
SAME_WORDS = 0.9

_CITED = re.compile(r"\(([^()]*?\d{4}[a-z]?(?:;[^()]*)?)\)")
_AUTHOR_YEAR = re.compile(r"\s*(.*?),? (\d{4})[a-z]?\s*")


@cache
def parts(path: str) -> tuple[dict[str, Any], str]:
    """Front matter and body."""
    _, front, body = (KNOWLEDGE / path).read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def sources_of(cited: str, sources: list[str]) -> set[int]:
    """Which sources "(Brown et al., 2020)" or "(Su, 2021; Press, 2022)" names; none for one that is not there."""
    found: set[int] = set()
    for one in cited.split(";"):
        match = _AUTHOR_YEAR.fullmatch(one)
        author = re.sub(r" et al\.?$| and .*$", "", match[1]).strip() if match else one
        year = match[2] if match else "?"
        named = {number for number, source in enumerate(sources) if source.startswith(author) and year in source}
        if not named:
            return set()
        found |= named
    return found


def test_a_citation_is_matched_with_its_source() -> None:
    sources = ["Brown et al., Language Models, NeurIPS 2020", "Su and Lu, Positions, 2021", "OpenAI, Card, 2023"]
    assert sources_of("Brown et al., 2020; OpenAI, 2023", sources) == {0, 2}
    assert sources_of("Su and Lu, 2021", sources) == {1}
    assert sources_of("Brown et al., 2020; Nobody, 2023", sources) == set()


@pytest.mark.parametrize("path", PATHS)
def test_front_matter_is_complete(path: str) -> None:
    front, body = parts(path)
    assert set(front) >= {"title", "summary", "updated", "sources"}
    assert isinstance(front["updated"], date)
    assert len(front["summary"].split()) >= 6
    assert body.lstrip().startswith(f"# {front['title']}\n"), "the first heading is the title"
    assert len(set(front["sources"])) == len(front["sources"]) > 0


@pytest.mark.parametrize("path", PATHS)
def test_every_citation_has_its_source_and_every_source_is_cited(path: str) -> None:
    front, body = parts(path)
    cited = {cited: sources_of(cited, front["sources"]) for cited in _CITED.findall(body)}
    assert [text for text, found in cited.items() if not found] == []
    used = set().union(*cited.values())
    assert [source for number, source in enumerate(front["sources"]) if number not in used] == []


@pytest.mark.parametrize("path", PATHS)
def test_links_lead_to_a_document(path: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", parts(path)[1])
    assert [link for link in links if not (KNOWLEDGE / path).parent.joinpath(link).is_file()] == []


@pytest.mark.parametrize("path", PATHS)
def test_sections_are_short_and_documents_of_a_good_length(path: str) -> None:
    sections = re.split(r"^#+ .*$", parts(path)[1], flags=re.MULTILINE)
    assert max(len(section.split()) for section in sections) <= MOST_IN_SECTION
    if path not in REFERENCE:
        assert FEWEST_WORDS <= len(parts(path)[1].split()) <= MOST_WORDS


def documents() -> list[Document]:
    found = list(read_folder(KNOWLEDGE))
    assert [item for item in found if not isinstance(item, Document)] == []
    return [document for document in found if isinstance(document, Document)]


def test_questions_are_those_of_passages_that_are_there() -> None:
    """Or else `python -m assistant expand` has to be run."""
    embedder = SentenceEmbedder("all-MiniLM-L6-v2", 1)
    for document in documents():
        chunks = split_document(document, embedder.count, embedder.max_tokens - 2)
        known = {expansion.digest(chunk) for chunk in chunks}
        assert [entry.heading for entry in document.expansion if entry.digest not in known] == [], document.path
        for entry in document.expansion:
            assert 1 <= len(entry.questions) <= expansion.MOST, (document.path, entry.heading)
            assert len(set(entry.questions)) == len(entry.questions), (document.path, entry.heading)
            assert max(len(question.split()) for question in entry.questions) <= 30


def test_no_passage_stands_twice() -> None:
    chunks = [chunk for document in documents() for chunk in split_document(document, lambda t: len(t.split()), 180)]
    words = [Counter(re.findall(r"\w+", chunk.text.lower())) for chunk in chunks]
    twice = [
        (f"{chunks[i].document}:{chunks[i].start_line}", f"{chunks[j].document}:{chunks[j].start_line}")
        for i in range(len(chunks))
        for j in range(i)
        if (words[i] & words[j]).total() >= SAME_WORDS * max(words[i].total(), words[j].total())
    ]
    assert twice == []


def test_there_is_enough_to_look_up() -> None:
    headings = {path: re.findall(r"^### (.+)$", parts(path)[1], re.MULTILINE) for path in REFERENCE}
    assert 45 <= len(PATHS) <= 60
    assert len(headings["overview/glossary.md"]) >= 120
    assert len(headings["models/notable-models.md"]) >= 30
    assert any("2017" in heading for heading in headings["overview/timeline.md"])
