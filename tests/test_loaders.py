"""Reading a folder: what becomes a document, what is skipped and why, what stops everything."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from assistant.errors import KnowledgeError
from assistant.ingestion import loaders
from assistant.ingestion.loaders import read_folder
from assistant.schemas import Document, Skipped

SKIPPED: list[tuple[str, bytes, str, str]] = [
    ("latin.md", "one\ntwo\ncafé\n".encode("latin-1"), "not UTF-8 (line 3)", "save it again as UTF-8"),
    ("latin-bom.txt", b"\xef\xbb\xbfone\n\xe9\n", "not UTF-8 (line 2)", "save it again as UTF-8"),
    ("utf16.md", "text".encode("utf-16"), "UTF-16", "save it again as UTF-8"),
    ("utf16-be.txt", b"\xfe\xff\0t\0e", "UTF-16", "save it again as UTF-8"),
    ("nul.md", b"te\0xt", "binary data", "save it as text in UTF-8"),
    ("report.pdf", b"%PDF-1.7", "not supported", "use one of .markdown, .md, .text, .txt"),
    ("no-suffix", b"text", "not supported", "use one of"),
    ("empty.md", b"", "no text", ": "),
    ("blank.txt", b" \n\t\n", "no text", ": "),
    ("only-front-matter.md", b"---\ntitle: A\n---\n\n", "no text", ": "),
    ("long-line.md", b"short\n" + b"x" * 201 + b"\n", "a line of more than 200 characters", "break its lines"),
    ("large.md", b"x\n" * 600, "larger than", "split it"),
    ("yaml.md", b"---\ntitle: a\nsummary: [b\n---\ntext", "not valid YAML at line", "mend it or remove it"),
    ("yaml-date.md", b"---\nupdated: 2024-13-45\n---\ntext", "not valid YAML", "mend it or remove it"),
    ("yaml-int.md", b"---\na: !!int ''\n---\ntext", "not valid YAML", "mend it or remove it"),
    ("yaml-bool.md", b"---\na: !!bool perhaps\n---\ntext", "not valid YAML", "mend it or remove it"),
    ("yaml-time.md", b"---\na: !!timestamp soon\n---\ntext", "not valid YAML", "mend it or remove it"),
    ("yaml-code.md", b"---\na: !!python/name:os.system\n---\ntext", "not valid YAML", "mend it or remove it"),
    ("yaml-deep.md", b"---\na: " + b"[" * 5000 + b"\n---\ntext", "not valid YAML", "mend it or remove it"),
]


def read(folder: Path) -> tuple[dict[str, Document], dict[str, str]]:
    items = list(read_folder(folder))
    read_ones = {item.path: item for item in items if isinstance(item, Document)}
    return read_ones, {item.path: item.reason for item in items if isinstance(item, Skipped)}


def one(folder: Path, name: str, content: str | bytes) -> Document:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found, skipped = read(folder)
    assert not skipped
    return found[name]


def test_every_file_below_the_folder_is_read_in_order(knowledge: Path) -> None:
    found, skipped = read(knowledge)
    assert list(found) == ["bread.md", "garden/tomatoes.md", "kettle.txt"]
    assert skipped == {}


def test_front_matter_gives_title_and_summary(tmp_path: Path) -> None:
    text = "---\ntitle: From  the\n  front\nsummary: Short.\nother: [1, 2]\n---\n\n# A heading\n\nBody.\n"
    document = one(tmp_path, "a.md", text)
    assert (document.title, document.summary) == ("From the front", "Short.")
    assert document.text == text
    assert document.body_line == 6
    assert document.text[document.body_offset :] == "\n# A heading\n\nBody.\n"
    assert document.digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "text", "title"),
    [
        ("a.md", "Before.\n\n# The heading\n\n# Another\n", "The heading"),
        ("a.markdown", "# The heading\n\nText.\n", "The heading"),
        ("growing-red_tomatoes.md", "## Only a second level\n\nText.\n", "growing red tomatoes"),
        ("a-note.txt", "# Not a heading in plain text\n", "a note"),
        ("A.MD", "# Upper case suffix\n\nText.\n", "Upper case suffix"),
        ("number.md", "---\ntitle: 2024\n---\nText.\n", "2024"),
        ("control.md", '---\ntitle: "a\\x07b"\n---\nText.\n', "a�b"),
        ("empty-title.md", "---\ntitle:\n---\n# Heading\n\nText.\n", "Heading"),
        ("code.md", "```sh\n# a comment\n```\n\n# The heading\n", "The heading"),
    ],
)
def test_the_title_comes_from_the_front_matter_or_a_heading_or_the_name(
    tmp_path: Path, name: str, text: str, title: str
) -> None:
    assert one(tmp_path, name, text).title == title


@pytest.mark.parametrize(
    "text",
    [
        "---\nA line, then a rule that closes nothing.\n",
        "---\njust words\n---\nText.\n",
        "---\n- a\n- list\n---\nText.\n",
        "Text.\n---\ntitle: too late\n---\n",
    ],
)
def test_what_only_looks_like_front_matter_is_body(tmp_path: Path, text: str) -> None:
    document = one(tmp_path, "a.md", text)
    assert (document.body_line, document.body_offset, document.title) == (0, 0, "a")


def test_plain_text_has_no_front_matter(tmp_path: Path) -> None:
    document = one(tmp_path, "a.txt", "---\ntitle: B\n---\nText.\n")
    assert (document.title, document.body_line) == ("a", 0)


@pytest.mark.parametrize("line_end", ["\r\n", "\r", "\n"])
def test_line_ends_of_every_system_become_one(tmp_path: Path, line_end: str) -> None:
    text = "---\ntitle: T\n---\nOne.\n\nTwo.\n"
    document = one(tmp_path, "a.md", text.replace("\n", line_end))
    assert (document.text, document.title, document.body_line) == (text, "T", 3)


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    document = one(tmp_path, "a.md", "\ufeff---\ntitle: T\n---\nBody.\n")
    assert (document.title, document.text[:3]) == ("T", "---")


@pytest.mark.parametrize(("name", "content", "reason", "remedy"), SKIPPED, ids=[name for name, *_ in SKIPPED])
def test_a_bad_file_is_skipped_with_reason_and_remedy_and_the_others_are_read(
    knowledge: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, reason: str, remedy: str
) -> None:
    monkeypatch.setattr(loaders, "MAX_LINE", 200 if name.startswith("long") else loaders.MAX_LINE)
    monkeypatch.setattr(loaders, "MAX_BYTES", 1000 if name.startswith("large") else loaders.MAX_BYTES)
    (knowledge / name).write_bytes(content)
    found, skipped = read(knowledge)
    assert list(found) == ["bread.md", "garden/tomatoes.md", "kettle.txt"]
    assert list(skipped) == [name]
    assert reason in skipped[name]
    assert remedy in skipped[name]
    assert "\n" not in skipped[name]


def test_a_link_within_the_folder_is_read(knowledge: Path) -> None:
    (knowledge / "again.md").symlink_to(knowledge / "bread.md")
    assert read(knowledge)[0]["again.md"].title == "Baking bread"


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside.md", "garden/../../outside.md"])
def test_a_link_out_of_the_folder_is_not_followed(knowledge: Path, target: str) -> None:
    (knowledge.parent / "outside.md").write_text("secret")
    (knowledge / "link.md").symlink_to(target)
    found, skipped = read(knowledge)
    assert "link.md" not in found
    assert "leads out of the knowledge folder" in skipped["link.md"]
    assert "copy the file here" in skipped["link.md"]


def test_a_folder_that_is_a_link_is_not_followed(knowledge: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.md").write_text("secret")
    (knowledge / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert list(read(knowledge)[0]) == ["bread.md", "garden/tomatoes.md", "kettle.txt"]


@pytest.mark.parametrize("target", ["loop.md", "nowhere.md"])
def test_a_link_that_leads_nowhere_is_skipped(knowledge: Path, target: str) -> None:
    (knowledge / "loop.md").symlink_to(target)
    found, skipped = read(knowledge)
    assert len(found) == 3
    assert list(skipped) == ["loop.md"]


def test_a_pipe_is_skipped_and_not_waited_for(knowledge: Path) -> None:
    os.mkfifo(knowledge / "pipe.md")
    assert "not a plain file" in read(knowledge)[1]["pipe.md"]


def test_a_name_that_is_not_utf8_is_skipped_and_can_be_printed(knowledge: Path) -> None:
    Path(os.fsdecode(bytes(knowledge) + b"/caf\xe9.md")).write_text("text")
    (name,) = read(knowledge)[1]
    assert name.encode() == "caf�.md".encode()


def test_hidden_files_and_folders_are_passed_over_without_a_word(knowledge: Path) -> None:
    (knowledge / ".hidden.md").write_text("text")
    (knowledge / ".obsidian").mkdir()
    (knowledge / ".obsidian" / "note.md").write_text("text")
    found, skipped = read(knowledge)
    assert len(found) == 3
    assert skipped == {}


def test_a_hidden_folder_above_does_not_matter(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "knowledge"
    folder.mkdir(parents=True)
    assert one(folder, "a.md", "text").path == "a.md"


@pytest.mark.parametrize("make_file", [True, False])
def test_a_missing_folder_is_an_error_that_says_what_to_do(tmp_path: Path, make_file: bool) -> None:
    folder = tmp_path / "missing"
    if make_file:
        folder.write_text("not a folder")
    with pytest.raises(KnowledgeError, match=r"does not exist: create it.*ASSISTANT_KNOWLEDGE") as caught:
        list(read_folder(folder))
    assert str(folder) in str(caught.value)


def test_an_empty_folder_gives_nothing(tmp_path: Path) -> None:
    assert list(read_folder(tmp_path)) == []
