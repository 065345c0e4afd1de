"""Chunking: passages are verbatim, know their lines and headings, fit the embedder, and lose nothing."""

from __future__ import annotations

import random
import re
import time
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from assistant.ingestion.chunker import HEADING_SHARE, plain_text, split_document
from assistant.schemas import Chunk, Document
from tests.fakes import HashEmbedder

Count = Callable[[str], int]
words_and_marks: Count = HashEmbedder().count


def pieces_of_four(text: str) -> int:
    """Like a subword tokenizer: a long word is many tokens."""
    return sum(-(-len(word) // 4) for word in re.findall(r"\w+|[^\w\s]", text))


def decomposed(text: str) -> int:
    """Like the default embedder on Korean: a syllable is three tokens."""
    return len(re.sub(r"\s", "", unicodedata.normalize("NFD", text)))


def document(text: str, path: str = "a.md", title: str = "Title", body_line: int = 0) -> Document:
    return Document(path, title, "", text, body_line, "digest")


def split(text: str, max_tokens: int = 60, count: Count = words_and_marks, path: str = "a.md") -> list[Chunk]:
    whole = document(text, path)
    chunks = split_document(whole, count, max_tokens)
    check(whole, chunks, count, max_tokens)
    return chunks


def check(whole: Document, chunks: list[Chunk], count: Count, max_tokens: int) -> None:
    """What must be true of the chunks of any document."""
    end = whole.body_offset
    for chunk in chunks:
        assert (chunk.document, chunk.title, chunk.page) == (whole.path, whole.title, None)
        assert chunk.text.strip()
        assert whole.text[chunk.offset : chunk.offset + len(chunk.text)] == chunk.text
        assert chunk.offset >= end, "chunks overlap, or are not in order, or reach into the front matter"
        end = chunk.offset + len(chunk.text)
        assert chunk.start_line == whole.text.count("\n", 0, chunk.offset) + 1
        assert chunk.end_line == whole.text.count("\n", 0, end - 1) + 1
        prefix = count(f"{chunk.heading_path}. ")
        excess = max(0, prefix - int(max_tokens * HEADING_SHARE))
        assert count(chunk.embedding_text) <= max_tokens + excess, chunk


@dataclass
class RandomMarkdown:
    """A document whose words are all different, and the heading path that each of them stands below."""

    choose: random.Random
    text: str = ""
    body_line: int = 0
    below: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _path: list[tuple[int, str]] = field(default_factory=list)

    def write(self) -> RandomMarkdown:
        if self.choose.random() < 0.3:
            self.text, self.body_line = "---\ntitle: Title\nsummary: S\n---\n", 4
        blocks = [self._paragraph, self._list, self._table, self._code, self._quote, self._html, self._rule]
        for _ in range(self.choose.randint(1, 25)):
            block = self._heading if self.choose.random() < 0.3 else self.choose.choice(blocks)
            self.text += block() + "\n" * self.choose.randint(2, 4)
        return self

    def _word(self) -> str:
        word = f"w{len(self.below)}" + self.choose.choice(["", "", "", "x" * 20, "é", "-y", "。"])
        self.below[word] = tuple(text for _, text in self._path)
        return word

    def _words(self, low: int = 1, high: int = 12) -> str:
        some = [self._word() + self.choose.choice(["", "", ",", "."]) for _ in range(self.choose.randint(low, high))]
        return " ".join(some)

    def _heading(self) -> str:
        depth, text = self.choose.randint(1, 6), f"H{len(self.text)}"
        self._path = [*((level, above) for level, above in self._path if level < depth), (depth, text)]
        return f"{text}\n{'=-'[depth - 1] * 3}" if depth < 3 and self.choose.random() < 0.3 else f"{'#' * depth} {text}"

    def _paragraph(self) -> str:
        return "\n".join(self._words(1, 30) for _ in range(self.choose.randint(1, 6)))

    def _list(self) -> str:
        marker = self.choose.choice(["-", "*", "1."])
        items = [
            f"{'  ' * self.choose.randint(0, 1)}{marker} {self._words()}" for _ in range(self.choose.randint(1, 20))
        ]
        return "\n".join(items)

    def _table(self) -> str:
        rows = [f"| {self._words(1, 4)} | {self._words(1, 4)} |" for _ in range(self.choose.randint(1, 12))]
        return "\n".join(["| a | b |", "|---|---|", *rows])

    def _code(self) -> str:
        lines = [" " * self.choose.randint(0, 8) + self._words() for _ in range(self.choose.randint(1, 15))]
        return "\n".join(["```python", *lines, *["", "# no heading"][: self.choose.randint(0, 2)], "```"])

    def _quote(self) -> str:
        return "\n".join(f"> {self._words()}" for _ in range(self.choose.randint(1, 5)))

    def _html(self) -> str:
        return f"<div>\n{self._words()}\n</div>"

    def _rule(self) -> str:
        return "***"


def holder(chunks: list[Chunk], offset: int) -> Chunk | None:
    position = bisect_right(chunks, offset, key=lambda chunk: chunk.offset) - 1
    chunk = chunks[max(position, 0)]
    return chunk if chunk.offset <= offset < chunk.offset + len(chunk.text) else None


@pytest.mark.parametrize("count", [words_and_marks, pieces_of_four])
def test_random_documents_lose_no_word_and_keep_every_heading(count: Count) -> None:
    for seed in range(80):
        choose = random.Random(seed)
        written = RandomMarkdown(choose).write()
        whole = document(written.text, body_line=written.body_line)
        max_tokens = choose.randint(20, 120)
        chunks = split_document(whole, count, max_tokens)
        check(whole, chunks, count, max_tokens)
        found = {match.group(): match.start() for match in re.finditer(r"w\d+(?:x{20}|é|-y|。)?", whole.text)}
        assert found.keys() == written.below.keys()
        for word, headings in written.below.items():
            chunk = holder(chunks, found[word])
            assert chunk, f"seed {seed}: {word} is in no chunk"
            assert chunk.headings == headings, f"seed {seed}: {word}"


def test_random_characters_are_cut_within_the_rules() -> None:
    alphabet = ["#", "##", "-", "*", "`", "```", "|", ">", " ", "  ", "\n", "\n", "\n\n", "1.", "a", "bc.", "D", "---"]
    alphabet += ["[", "](", ")", "<", "\t", "===", "\\", "&amp;", "~~~", "é", "。", "x" * 90]
    for seed in range(300):
        choose = random.Random(seed)
        text = "".join(choose.choice(alphabet) for _ in range(choose.randint(0, 150)))
        for path in ("a.md", "a.txt"):
            split(text, choose.randint(4, 40), pieces_of_four, path)


def test_heading_paths_are_nested_and_leave_the_title_out() -> None:
    chunks = split(
        "Before.\n\n# Title\n\nTop.\n\n## A\n\nText a.\n\n#### Deep\n\nText d.\n\n### B **bold** `code`\n\nText b.\n\n"
        "C\n-\n\nText c.\n\n# Other\n\nText o.\n\n## A\n\nText oa.\n"
    )
    assert [(chunk.text.split("\n")[0], chunk.headings) for chunk in chunks] == [
        ("Before.", ()),
        ("Text a.", ("A",)),
        ("Text d.", ("A", "Deep")),
        ("Text b.", ("A", "B bold code")),
        ("Text c.", ("C",)),
        ("Text o.", ("Other",)),
        ("Text oa.", ("Other", "A")),
    ]
    assert chunks[3].heading_path == "Title: A: B bold code"
    assert chunks[3].embedding_text == "Title: A: B bold code. Text b."


def test_lines_are_those_of_the_file_with_its_front_matter() -> None:
    whole = document("---\ntitle: Title\n---\n\n# Title\n\nOne.\n\n## A\n\nTwo\nthree.\n", body_line=3)
    chunks = split_document(whole, words_and_marks, 60)
    assert [(chunk.text, chunk.start_line, chunk.end_line, chunk.offset) for chunk in chunks] == [
        ("One.", 7, 7, whole.text.index("One.")),
        ("Two\nthree.", 11, 12, whole.text.index("Two")),
    ]


def test_neighbouring_blocks_below_one_heading_share_a_chunk_while_they_fit() -> None:
    chunks = split("One two three.\n\nFour five six.\n\nSeven eight nine.\n", 12)
    assert [chunk.text for chunk in chunks] == ["One two three.\n\nFour five six.", "Seven eight nine."]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    sentences = [f"Sentence number {n} has seven words here." for n in range(40)]
    chunks = split(" ".join(sentences), 30)
    assert len(chunks) > 5
    assert [sentence for chunk in chunks for sentence in re.findall(r"S[^.]+\.", chunk.text)] == sentences


def test_a_long_sentence_is_cut_between_words() -> None:
    text = " ".join(f"word{n}" for n in range(300))
    chunks = split(text, 30)
    assert [word for chunk in chunks for word in chunk.text.split()] == text.split()


def test_a_long_list_is_cut_between_items() -> None:
    items = [f"- item {n} of the list." for n in range(60)]
    chunks = split("\n".join(items), 30)
    assert len(chunks) > 5
    assert [line for chunk in chunks for line in chunk.text.split("\n")] == items


def test_a_table_is_cut_between_rows() -> None:
    rows = [f"| row {n} | value {n} |" for n in range(60)]
    chunks = split("\n".join(["| a | b |", "|---|---|", *rows]), 40)
    assert len(chunks) > 5
    assert all(line.startswith("|") and line.endswith("|") for chunk in chunks for line in chunk.text.split("\n"))
    assert [line for chunk in chunks for line in chunk.text.split("\n")][2:] == rows


def test_fenced_code_is_one_passage_and_its_comments_are_no_headings() -> None:
    chunks = split("## A\n\n```sh\n# install\nrun this\n```\n")
    assert [(chunk.headings, chunk.text) for chunk in chunks] == [(("A",), "```sh\n# install\nrun this\n```")]


def test_long_fenced_code_is_cut_between_lines() -> None:
    lines = [f"x{n} = call({n}, {n})" for n in range(60)]
    for max_tokens in (20, 30, 40, 50, 60):
        chunks = split("\n".join(["```python", *lines, "```"]), max_tokens)
        assert len(chunks) > 5
        assert [line for chunk in chunks for line in chunk.text.split("\n")][1:-1] == lines


@pytest.mark.parametrize("path", ["a.md", "a.txt"])
def test_a_huge_word_is_cut_and_nothing_of_it_is_lost(path: str) -> None:
    word = "".join(random.Random(0).choice("abcdef") for _ in range(50_000))
    chunks = split(f"Before. {word} After.", 60, pieces_of_four, path)
    assert len(chunks) > 200
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == f"Before.{word}After."


@pytest.mark.parametrize("text", ["각한국어밟값" * 300, "한국어문장입니다 " * 200, "한국어 문장 입니다. " * 200])
def test_a_script_whose_characters_are_several_tokens_fits_too(text: str) -> None:
    split(text, 60, decomposed, "a.txt")


def test_plain_text_is_cut_at_empty_lines_and_its_marks_are_text() -> None:
    chunks = split("# Not a heading\n\n- one\n\n\n   \nlast words  \n", 9, path="a.txt")
    assert [(chunk.text, chunk.headings) for chunk in chunks] == [("# Not a heading\n\n- one", ()), ("last words", ())]
    assert [(chunk.start_line, chunk.end_line) for chunk in chunks] == [(1, 3), (7, 7)]


def test_a_long_heading_takes_no_more_than_its_share() -> None:
    heading = " ".join(f"heading{n}" for n in range(100))
    chunks = split(f"## {heading}\n\n" + "Some words here. " * 40, 40)
    assert all(chunk.headings == (heading,) for chunk in chunks)
    assert max(words_and_marks(chunk.text) for chunk in chunks) > 20


@pytest.mark.parametrize("text", ["", "\n\n", "# Title\n", "# Title\n\n## A\n\n### B\n", "---\n\n***\n"])
def test_a_document_without_words_below_headings_has_no_chunks(text: str) -> None:
    assert split(text) == []


def test_the_same_document_gives_the_same_chunks() -> None:
    text = RandomMarkdown(random.Random(7)).write().text
    assert split(text) == split(text)


def slow_documents() -> Iterator[tuple[str, str]]:
    yield "empty lines in code", "```\na" + "\n" * 6000 + "b\n```\n"
    yield "dots", "." * 6000 + "x"
    yield "brackets", "[" * 6000
    yield "one long paragraph", "The quick brown fox jumps over the lazy dog. " * 2000


@pytest.mark.parametrize("text", [text for _, text in slow_documents()], ids=[name for name, _ in slow_documents()])
def test_a_strange_document_takes_no_long_time(text: str) -> None:
    started = time.process_time()
    split_document(document(text), words_and_marks, 254)
    assert time.process_time() - started < 0.6


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("**bold** and *italic* and `code` and ~~gone~~", "bold and italic and code and gone"),
        ("[link](https://example.org) ![image](a.png)", "link image"),
        ("- one\n- two\n\n## three\n> four", "one\ntwo\nthree\nfour"),
        ("1. one\n2. two", "one\ntwo"),
        ("`__init__` and `a * b * c`", "__init__ and a * b * c"),
        ("type `<user>` or <user>", "type <user> or <user>"),
        ("take readings[0] and `readings[1](x)`", "take readings[0] and readings[1](x)"),
        ("| a | b |\n|---|---|\n| **c** | d |", "a\nb\nc\nd"),
        ("```python\ndef __init__(self): ...\n```", "def __init__(self): ..."),
        ("A\\*b &amp; c", "A*b & c"),
        ("2 * 3 * 4 = 24 and snake_case_name", "2 * 3 * 4 = 24 and snake_case_name"),
        ("", ""),
    ],
)
def test_markdown_loses_its_marks(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text
