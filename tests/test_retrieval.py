"""Retrieval: the right passage first, whatever the query holds."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from assistant import retrieval
from assistant.retrieval.store import KnowledgeIndex
from assistant.ingestion.builder import build
from assistant.retrieval.hybrid_search import COMPARED, Retriever, full_text_query, fused, likeness
from assistant.words import content_words
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
    embedder = HashEmbedder()
    build(knowledge, tmp_path / "index", embedder)
    return Retriever(KnowledgeIndex(tmp_path / "index", embedder.name), embedder)


@pytest.mark.parametrize(
    ("question", "document", "heading"),
    [
        ("When do tomatoes need water?", "garden/tomatoes.md", "Watering"),
        ("How big is the pot of a tomato?", "garden/tomatoes.md", "Choosing a pot"),
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
    monkeypatch.setattr(retrieval, "CANDIDATES", 1)
    question = "straw bread bakes forty minutes degrees oven crust crisp bowl"
    vector = HashEmbedder().embed([question])[0]
    with retriever.index.snapshot() as snapshot:
        (near,) = snapshot.nearest(vector, 1)
        (worded,) = snapshot.full_text('"straw"', 1)
        scores, cosines = fused(snapshot, vector, '"straw"')
        assert near != worded
        assert scores.keys() == cosines.keys() == {near, worded}
        assert cosines[worded] == pytest.approx(snapshot.likenesses([worded], vector)[worded])


def test_several_near_questions_say_more_than_one_and_cosines_alone_stay_what_they_are() -> None:
    cosines = {1: np.array([0.2, 0.7, 0.7]), 2: np.array([0.2, 0.71, 0.1]), 3: np.array([0.3])}
    found = likeness(cosines)
    assert found[1] > found[2] > found[3] == pytest.approx(0.3)
    assert likeness({}) == {}


def test_a_chunk_without_questions_has_the_place_that_its_own_cosine_has_among_the_others() -> None:
    own = np.linspace(0.1, 0.5, COMPARED)
    asked = {i: np.array([cosine, cosine + 0.3]) for i, cosine in enumerate(own)}
    found = likeness({**asked, 100: np.array([0.6]), 101: np.array([0.3]), 102: np.array([0.05])})
    assert found[100] > max(found[i] for i in asked) > found[101] > min(found[i] for i in asked) > found[102]
    assert found[101] == pytest.approx(np.mean([found[i] for i in asked]), abs=1e-6)
    # where there are too few to compare with, or all have the same cosine, nothing breaks
    assert likeness({0: asked[0], 100: np.array([0.6])})[100] == pytest.approx(0.6)
    alike = likeness(dict.fromkeys(range(COMPARED), np.array([0.3, 0.5])) | {100: np.array([0.6])})
    assert alike[100] == pytest.approx(alike[0])


def test_words_of_questions_do_not_put_a_document_without_any_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "DENSE_WEIGHT", 0.0)
    folder = tmp_path / "documents"
    folder.mkdir()
    for number in range(2 * COMPARED):
        asked = f"questions:\n  t{number}:\n    - can my dog eat grapes at home\n    - dog and grapes to eat\n"
        text = f"Town {number} has a post office and {'a dog' if number % 2 else 'no dogs but one cat'}."
        (folder / f"t{number}.md").write_text(f"---\n{asked}---\n{text}\n")
    (folder / "own.md").write_text("A dog that ate grapes falls ill.\n")
    build(folder, tmp_path / "index", HashEmbedder())
    index = KnowledgeIndex(tmp_path / "index", HashEmbedder().name)
    question = "can my dog eat grapes"
    with index.snapshot() as snapshot:
        by_words = snapshot.full_text(full_text_query(question), 100)
        (own,) = (i for i, chunk in snapshot.chunks(list(by_words)).items() if chunk.document == "own.md")
        assert by_words[own] == min(by_words.values())
    assert Retriever(index, HashEmbedder()).search(question, 1)[0].identifier == own


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
    assert full_text_query("What is the Kettle OR the (tea)?") == '"kettle" OR "tea"'
    assert full_text_query("what is it about?") == ""
    assert full_text_query(" ".join(f"word{n}" for n in range(500))).count(" OR ") == 63


def test_what_no_document_mentions_is_unknown(retriever: Retriever) -> None:
    words = ["Kettles", "Monet", 'NEAR("a', "vinegar", "DROP"]
    assert retriever.unknown(words) == ["Monet", 'NEAR("a', "DROP"]


def test_content_words_are_lower_case_in_order_and_once() -> None:
    assert content_words("How does the Kettle boil water? Water, in a KETTLE!") == ["kettle", "boil", "water"]


def test_an_index_without_passages_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Only a heading\n")
    embedder = HashEmbedder()
    build(tmp_path, tmp_path / "index", embedder)
    assert Retriever(KnowledgeIndex(tmp_path / "index", embedder.name), embedder).search("heading", 5) == []
