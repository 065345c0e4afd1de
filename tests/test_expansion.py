"""Expansion: questions beside a document, kept, found again, and never in the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from assistant.ingestion import expansion
from assistant.ingestion.loaders import read_folder
from assistant.schemas import Chunk, Document, Expansion, Skipped

BASIL = Chunk("plants.md", "Plants", ("Basil",), "Basil needs shade.", 3, 3)
MINT = Chunk("plants.md", "Plants", ("Mint",), "Mint spreads.", 7, 7)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "plants.md"
    assert expansion.read(path) == ()
    entries = (
        Expansion("Plants: Basil", "abc", ('Why "shade"?', "wieso Schatten für Basilikum?")),
        Expansion("", "", ()),
    )
    expansion.write(path, entries)
    assert expansion.read(path) == entries
    expansion.write(path, entries[:1])
    assert expansion.read(path) == entries[:1]
    assert [file.name for file in tmp_path.iterdir()] == ["plants.md.questions.json"]


def test_a_passage_is_known_by_its_text_and_headings_and_not_by_its_place() -> None:
    assert expansion.digest(BASIL) == expansion.digest(replace(BASIL, start_line=9, end_line=9, offset=99))
    assert expansion.digest(BASIL) != expansion.digest(replace(BASIL, text="Basil needs sun."))
    assert expansion.digest(BASIL) != expansion.digest(replace(BASIL, headings=("Herbs",)))


def test_questions_follow_the_digest_before_the_heading() -> None:
    entries = [
        Expansion("Plants: Mint", expansion.digest(BASIL), ("about basil?",)),
        Expansion("Plants: Basil", expansion.digest(MINT), ("about mint?",)),
    ]
    assert expansion.questions([BASIL, MINT], entries) == [("about basil?",), ("about mint?",)]


def test_a_passage_that_has_changed_keeps_its_questions_while_its_heading_is_unambiguous() -> None:
    old = Expansion("Plants: Basil", "old", ("about basil?",))
    assert expansion.questions([BASIL, MINT], [old]) == [("about basil?",), ()]
    more = replace(BASIL, text="Basil likes water.")
    assert expansion.questions([BASIL, more], [old]) == [(), ()], "two passages below it"
    assert expansion.questions([BASIL], [old, replace(old, digest="older")]) == [()], "two entries of it"
    known = replace(old, digest=expansion.digest(BASIL))
    assert expansion.questions([BASIL, more], [known]) == [("about basil?",), ()]


def test_of_many_questions_the_first_are_used() -> None:
    entry = Expansion("Plants: Basil", "", tuple(f"question {n}?" for n in range(expansion.MOST + 5)))
    assert expansion.questions([BASIL], [entry]) == [entry.questions[: expansion.MOST]]
    assert expansion.questions([], [entry]) == []


def read(folder: Path) -> tuple[dict[str, Document], dict[str, str]]:
    items = list(read_folder(folder))
    documents = {item.path: item for item in items if isinstance(item, Document)}
    return documents, {item.path: item.reason for item in items if isinstance(item, Skipped)}


def test_the_file_is_no_document_and_changes_its_documents_digest(knowledge: Path) -> None:
    before = read(knowledge)[0]
    expansion.write(knowledge / "bread.md", [Expansion("Baking bread", "", ("what is bread?",))])
    found, skipped = read(knowledge)
    assert (found.keys(), skipped) == (before.keys(), {})
    assert found["bread.md"].expansion == (Expansion("Baking bread", "", ("what is bread?",)),)
    assert found["bread.md"].digest != before["bread.md"].digest
    assert found["bread.md"].text == before["bread.md"].text
    assert found["kettle.txt"] == before["kettle.txt"]


def test_a_file_without_its_document_is_reported_like_any_other(knowledge: Path) -> None:
    expansion.write(knowledge / "gone.md", [])
    assert "type is not supported" in read(knowledge)[1]["gone.md.questions.json"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b"\xff\xfe",
        b'{"passages": 7}',
        b'{"passages": [7]}',
        b'{"passages": [{"heading": "A", "digest": ""}]}',
        b'{"passages": [{"heading": "A", "digest": "", "questions": 7}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_skips_its_document_with_the_reason(knowledge: Path, damage: bytes) -> None:
    (knowledge / "bread.md.questions.json").write_bytes(damage)
    found, skipped = read(knowledge)
    assert list(found) == ["garden/tomatoes.md", "kettle.txt"]
    assert list(skipped) == ["bread.md"]
    assert "bread.md.questions.json beside it is damaged: delete that file" in skipped["bread.md"]
