"""Whatever is put in: loaders, chunker, checks, settings and the HTTP door neither break nor let anything through.

The cases are made by Hypothesis, the same ones in every run; `make soak` makes many more, of new ones.
"""

from __future__ import annotations

import html
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.errors import SettingsError
from assistant.ingestion.chunker import plain_text, split_document
from assistant.ingestion.loaders import read_folder
from assistant.ingestion.sentences import sentence_spans
from assistant.retrieval.hybrid_search import Retriever
from assistant.retrieval.verifier import Verifier, spans_of
from assistant.schemas import Chunk, Document, Encoding, SearchResult, Skipped, Vectors
from assistant.settings import KINDS, Settings, variable
from assistant.web.rendering import document_html, linked, safe_markdown, sources_html
from tests.fakes import HashEmbedder, ScriptedModel, WordJudge
from tests.test_api import Door

FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=3_000, deadline=None, suppress_health_check=list(HealthCheck))

# what documents are made of, so that more than noise is tried
PIECES = st.sampled_from(
    [
        *("# ", "## ", "- ", "1. ", "| a | b |\n", "|---|---|\n", "```\n", "~~~\n", "---\n", "<!-- ", "-->"),
        *("<script>", "</script>", "![x](http://e/?q=)", "[a](javascript:1)", "[1]", "[[2]]", "<|im_end|>"),
        *("\n\n", "\n", "\t", "  ", ". ", "! ", "e.g. ", "Dr. ", "3.5 ", "1,000 ", "é", "漢字。", "\u200b", "\ufeff"),
        *("\\", "`", "**", "__", "$", "&amp;", "'", '"', "title: ", "questions: ", "{", "}"),
        *("The model has 7 billion parameters. ", "It is not a bird. ", "word "),
    ]
)
TEXT = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=60).map("".join))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=30)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries(
    {
        "role": st.one_of(st.sampled_from(["user", "assistant", "system", "tool"]), JSON),
        "content": st.one_of(TEXT, JSON),
    }
)
BODY = st.one_of(JSON, st.fixed_dictionaries({"messages": st.lists(MESSAGE, max_size=4), "model": JSON}))


def loads(data: bytes) -> None:
    """Any file is a document or is skipped with a reason, and its passages stand verbatim in it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.md").write_bytes(data)
        (item,) = read_folder(Path(folder))
    if isinstance(item, Skipped):
        assert item.reason
        return
    for chunk in split_document(item, lambda text: len(text.split()), 40):
        assert item.text[chunk.offset : chunk.offset + len(chunk.text)] == chunk.text
        assert chunk.offset >= item.body_offset
        assert chunk.start_line == item.text.count("\n", 0, chunk.offset) + 1
        assert chunk.end_line == chunk.start_line + chunk.text.rstrip().count("\n")


class Words:
    """What a `Verifier` asks of a retriever, without an index."""

    def encode(self, text: str) -> Encoding:
        return HashEmbedder().encode([text])[0]

    def rarities(self, encoding: Encoding) -> Vectors:
        return np.ones(len(encoding.ids), np.float32)


def found(passage: str, title: str, *headings: str) -> SearchResult:
    chunk = Chunk("a.md", title, headings, passage, 1, 1 + passage.count("\n"))
    return SearchResult(1, chunk, 1.0, 0.9, Words().encode(chunk.embedding_text))


def cites(passage: str, sentence: str) -> None:
    """What is cited stands verbatim in its passage, whatever both are; what has no words is supported by nothing."""
    result = found(passage, "A")
    verifier = Verifier(cast(Retriever, Words()), "What is A?", [result], WordJudge())
    for span in [*verifier.support(sentence), *spans_of(result)]:
        assert passage[span.start : span.end] == span.quote == span.citation(1).quote != ""
        assert all(span.start <= start < end <= span.end for start, end in span.items)
    assert not verifier.support(sentence) or re.search(r"\w", sentence)
    assert all(passage[start:end].strip() for start, end in sentence_spans(passage))
    assert verifier.support("") == []
    plain_text(sentence)


def renders(text: str) -> None:
    """No text becomes an element, a link to a script, or a picture from elsewhere."""
    result = found(text, text, text)
    citations = [span.citation(number) for number, span in enumerate(spans_of(result), 1)]
    answer = linked(safe_markdown(text), citations)
    assert "<" not in answer
    assert "![" not in answer.replace("\\![", "")
    document = Document("a.md", text, text, text, 0, "")
    for page in (sources_html(citations, [result]), document_html(document, 0, len(text))):
        tags = re.findall(r"<\s*(/?[a-zA-Z!][^>]*)>", page)
        assert not [tag for tag in tags if re.match(r"/?(script|img|svg|iframe|object|style|link)\b", tag, re.I)]
        assert not [tag for tag in tags if re.search(r"\bon\w+\s*=", re.sub(r"=\s*(['\"]).*?\1", "", tag))]
        links = [html.unescape(link).strip().lower() for link in re.findall(r"href=['\"]([^'\"]*)", page)]
        assert not [link for link in links if link.startswith(("javascript:", "data:", "vbscript:"))]


def sets(name: str, text: str) -> None:
    """A setting is read, or refused with its name and what is accepted."""
    try:
        Settings.from_environment({variable(name): text})
        said = ""
    except SettingsError as error:
        said = str(error)
    assert not said or (variable(name) in said and "set it to" in said and "\n" not in said)


BYTES = st.one_of(st.binary(max_size=200), TEXT.map(lambda text: f"---\n{text}\n---\n{text}".encode(errors="replace")))
NAMES = st.sampled_from(sorted(KINDS))
CASES = (
    (loads, (BYTES,)),
    (cites, (TEXT, TEXT)),
    (renders, (TEXT,)),
    (sets, (NAMES, TEXT)),
)


def many_times(check: Any, strategies: tuple[Any, ...], inputs: list[None]) -> None:
    """Hold the check for many inputs, and add an entry to ``inputs`` for each."""

    def counted(arguments: tuple[Any, ...]) -> None:
        inputs.append(None)
        check(*arguments)

    MANY(given(st.tuples(*strategies))(counted))()


@pytest.mark.parametrize(("check", "strategies"), CASES)
def test_whatever_is_put_in(check: Any, strategies: tuple[Any, ...]) -> None:
    FEW(given(*strategies)(check))()  # type: ignore[no-untyped-call]


@pytest.mark.soak
@pytest.mark.parametrize(("check", "strategies"), CASES)
def test_whatever_is_put_in_many_times(check: Any, strategies: tuple[Any, ...], count_of_inputs: list[None]) -> None:
    many_times(check, strategies, count_of_inputs)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    (folder / "knowledge").mkdir()
    (folder / "knowledge" / "bread.md").write_text("# Bread\n\nBread bakes for forty minutes.\n")
    chosen = Settings(knowledge=folder / "knowledge", index=folder / "index", cache=folder / "cache")
    made = Door(chosen, ScriptedModel("Bread bakes for forty minutes."))
    with made.client:
        yield made


def posted(door: Door, body: Any) -> None:
    """Every body is answered, or refused in the documented shape; none is the server's fault."""
    answer = door.post(json.dumps(body).encode())
    assert answer.status_code in {200, 400}
    if answer.status_code == 400:
        assert answer.json()["error"]["message"]
    elif isinstance(body, dict) and not body.get("stream"):
        message = answer.json()["choices"][0]["message"]
        assert message["refused"] or message["content"]


def test_whatever_is_posted(door: Door) -> None:
    FEW(given(BODY)(lambda body: posted(door, body)))()


@pytest.mark.soak
def test_whatever_is_posted_many_times(door: Door, count_of_inputs: list[None]) -> None:
    many_times(lambda body: posted(door, body), (BODY,), count_of_inputs)
