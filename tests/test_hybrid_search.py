"""Retrieval: the right passage first, whatever the query holds."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from assistant.ingestion import expansion
from assistant.retrieval import hybrid_search
from assistant.retrieval.builder import build
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.retrieval.hybrid_search import RERANKED, Retriever, full_text_query, fused, max_similarity
from assistant.retrieval.store import KnowledgeIndex
from assistant.schemas import Embedder, Expansion
from tests.fakes import HashEmbedder

HOSTILE = [
    "",
    " ",
    '"',
    '""',
    "'",
    '"unbalanced',
    'say "hello" OR',
    "NEAR(a b, 2)",
    "NEAR",
    "AND OR NOT",
    "a NOT b",
    "water*",
    "^water",
    "water ^ tea",
    "(water",
    ")(",
    "text:water",
    "{text headings}: water",
    "- water + tea",
    "water\\",
    "water;DROP TABLE chunks",
    "' OR 1=1 --",
    "? ?1 :name @name $name",
    "%s %d {} {0}",
    "🍅 🫖 água",
    "水 をやる",
    "\u0000water\u0000",
    "\ud800",
    "___ _ __init__",
    "² ½ ① İ ß ﬁ",
    "the of and is what",
    "\n\t\r",
    "water " * 5000,
    " ".join(f"word{n}" for n in range(5000)),
    "x" * 100_000,
]


@pytest.fixture
def retriever(knowledge: Path, tmp_path: Path) -> Retriever:
    return opened(knowledge, tmp_path / "index", HashEmbedder())


@pytest.mark.parametrize(
    ("question", "document", "heading"),
    [
        ("When do tomatoes need water?", "garden/tomatoes.md", "Watering"),
        ("How many litres does the clay pot of a tomato hold?", "garden/tomatoes.md", "Choosing a pot"),
        ("How long does dough rise?", "bread.md", "Rising"),
        ("How long does bread bake in the oven?", "bread.md", "Baking"),
        ("How do I descale the kettle?", "kettle.txt", ""),
        ("mould", "garden/tomatoes.md", "Watering"),
        ("MULCH", "garden/tomatoes.md", "Watering"),
        ("vinegars", "kettle.txt", ""),
    ],
)
def test_the_right_passage_comes_first(retriever: Retriever, question: str, document: str, heading: str) -> None:
    first = retriever.search(question, 3)[0].chunk
    assert (first.document, "".join(first.headings)) == (document, heading)


def test_results_are_as_many_as_asked_for_each_once_and_best_first(retriever: Retriever) -> None:
    results = retriever.search("When do tomatoes need water?", 3)
    assert len(results) == 3
    everything = retriever.search("When do tomatoes need water?", 1000)
    assert everything[:3] == results
    assert len({result.identifier for result in everything}) == len(everything) == 7
    scores = [result.score for result in everything]
    assert scores == sorted(scores, reverse=True)


def test_similarity_is_the_cosine_to_the_question(retriever: Retriever) -> None:
    question = "When do tomatoes need water?"
    embedder = HashEmbedder()
    for result in retriever.search(question, 10):
        one, other = embedder.embed([question, result.chunk.embedding_text])
        assert result.similarity == pytest.approx(float(one @ other), abs=1e-5)


def test_a_passage_that_only_its_words_bring_up_is_among_the_results(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hybrid_search, "CANDIDATES", 1)
    question = "straw bread bakes forty minutes degrees oven crust crisp bowl"
    vector = HashEmbedder().embed([question])[0]
    with retriever.index.snapshot() as snapshot:
        (near,) = snapshot.nearest(vector, 1)
        (worded,) = snapshot.full_text('"straw"', 1)
        scores, cosines = fused(snapshot, vector, '"straw"')
        assert near != worded
        assert scores.keys() == cosines.keys() == {near, worded}
        assert cosines[worded] == pytest.approx(snapshot.likenesses([worded], vector)[worded])


def opened(knowledge: Path, index: Path, embedder: Embedder) -> Retriever:
    build(knowledge, index, embedder)
    return Retriever(KnowledgeIndex(index, embedder.name), embedder)


def written(folder: Path, texts: Mapping[str, str], asked: Mapping[str, tuple[str, ...]]) -> Path:
    """A folder of these documents, some of them with questions."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(f"{text}\n")
        if name in asked:
            expansion.write(folder / f"{name}.md", [Expansion(name, "", asked[name])])
    return folder


def test_several_near_questions_say_more_than_one(tmp_path: Path) -> None:
    texts = dict.fromkeys(("basil", "mint", "sage"), "Limp leaves mean thirst.")
    once = ("why does it hang its head", "who sells pots")
    twice = ("why does it hang its head", "does it hang its head")
    retriever = opened(written(tmp_path / "d", texts, {"mint": twice, "sage": once}), tmp_path / "i", HashEmbedder())
    with retriever.index.snapshot() as snapshot:
        scores, _ = fused(snapshot, HashEmbedder().embed(["why does it hang its head"])[0], "")
        names = {i: chunk.title for i, chunk in snapshot.chunks(list(scores)).items()}
    assert [names[i] for i in sorted(scores, key=lambda i: -scores[i])] == ["mint", "sage", "basil"]


def test_others_questions_do_not_hide_a_document_that_has_none(tmp_path: Path) -> None:
    texts = {f"t{n}": f"Town {n} has a post office and {'a dog' if n % 2 else 'one cat'}." for n in range(RERANKED - 5)}
    asked = dict.fromkeys(texts, ("can my dog eat grapes at home", "dog and grapes to eat"))
    texts["own"] = "A dog that ate grapes falls ill."
    retriever = opened(written(tmp_path / "d", texts, asked), tmp_path / "i", HashEmbedder())
    assert retriever.search("can my dog eat grapes", 1)[0].chunk.document == "own.md"


def test_similarity_of_tokens_is_weighted_and_that_of_nothing_is_none() -> None:
    text, other, nothing = HashEmbedder().encode(["kettle straw", "The kettle boils", ""])
    assert max_similarity(text, np.array([1, 1], np.float32), other) == pytest.approx(0.5)
    assert max_similarity(text, np.array([3, 1], np.float32), other) == pytest.approx(0.75)
    assert max_similarity(text, np.zeros(2, np.float32), other) == 0.0
    assert max_similarity(text, np.ones(2, np.float32), nothing) == 0.0
    assert max_similarity(nothing, np.zeros(0, np.float32), other) == 0.0


SUPPORT = """# Error codes

The pump shows one of these codes.

## E-1047

The error E-1047 means that the filter is clogged: rinse it.

## E-1074

The error E-1074 means that the pump is dry: fill it up.

## Departments

IT mends screens and printers on the second floor. It is open until six.

Finance pays travel costs back within a month.
"""
CATS = """# Cats

A cat is a small animal that people keep at home.

## Food

Cats eat meat and fish, twice a day.

## Sleep

Cats sleep for fifteen hours a day.
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    """Documents with the real embedder."""
    folder = tmp_path_factory.mktemp("real")
    dogs = CATS.replace("Cat", "Dog").replace("cat", "dog").replace("fifteen", "ten").replace("meat and fish", "kibble")
    knowledge = written(folder / "knowledge", {"pump": SUPPORT, "cats": CATS, "dogs": dogs}, {})
    return opened(knowledge, folder / "index", SentenceEmbedder("all-MiniLM-L6-v2", 2))


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("What does E-1047 mean?", "E-1047"),
        ("What does E-1074 mean?", "E-1074"),
        ("the display says e-1047, what now", "E-1047"),
        ("error E-1074", "E-1074"),
        ("Where is IT?", "Departments"),
        ("What does the IT department do?", "Departments"),
    ],
)
def test_identifiers_and_acronyms_find_their_own_passage(real: Retriever, question: str, heading: str) -> None:
    assert real.search(question, 1)[0].chunk.headings[-1] == heading


@pytest.mark.parametrize(("earlier", "document"), [("What is a cat?", "cats.md"), ("What is a dog?", "dogs.md")])
@pytest.mark.parametrize(
    ("query", "heading"), [("And what do they eat?", "Food"), ("How long do they sleep?", "Sleep"), ("Food?", "Food")]
)
def test_the_subject_of_a_conversation_is_kept(
    real: Retriever, earlier: str, document: str, query: str, heading: str
) -> None:
    first = real.search(query, 1, f"{earlier} {query}")[0].chunk
    assert (first.document, first.headings) == (document, (heading,))


def test_the_words_of_a_query_are_seen_behind_its_context(real: Retriever) -> None:
    query = "How long do they sleep?"
    alone, behind = real.last_words(query, ""), real.last_words(query, f"What is a cat? {query}")
    np.testing.assert_array_equal(alone.ids, behind.ids)
    assert (alone.tokens != behind.tokens).any()
    # a context so long that the query lies beyond what is read
    cut = real.last_words(query, "word " * 600 + query)
    np.testing.assert_array_equal(cut.tokens, alone.tokens)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_can_be_a_syntax_error(retriever: Retriever, text: str) -> None:
    query = full_text_query(text)
    with retriever.index.snapshot() as snapshot:
        assert set(snapshot.full_text(query, 1000)) <= {result.identifier for result in retriever.search("x", 1000)}
    assert len(query) < 110_000
    assert len(retriever.search(text, 3)) == 3


def test_random_text_is_never_a_syntax_error() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'porter unicode61 remove_diacritics 2')")
    database.execute("INSERT INTO words VALUES ('near water and tea or not')")
    choose = random.Random(0)
    parts = ['"', "'", "*", "^", "(", ")", ":", "+", "-", "{", "}", ",", "NEAR", "AND", "OR", "NOT", "water", "é", "_"]
    for _ in range(500):
        query = full_text_query("".join(choose.choice([*parts, " "]) for _ in range(choose.randint(1, 40))))
        if query:
            database.execute("SELECT count(*) FROM words WHERE words MATCH ?", (query,)).fetchone()
    database.close()


def test_a_query_asks_for_any_content_word_and_for_no_more_than_64() -> None:
    assert full_text_query("What is the Kettle or the (tea)?") == '"kettle" OR "tea"'
    assert full_text_query("Kettle OR tea") == '"kettle" OR "or" OR "tea"', "no operator: it is quoted"
    assert full_text_query("what is it about?") == ""
    assert full_text_query(" ".join(f"word{n}" for n in range(500))).count(" OR ") == 63


def test_an_index_without_passages_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Only a heading\n")
    assert opened(tmp_path, tmp_path / "index", HashEmbedder()).search("heading", 5) == []
