"""Questions to go on with: from the headings of what was cited, and never what was just answered."""

from __future__ import annotations

from assistant.schemas import Chunk
from assistant.suggestions import SUGGESTED, next_questions
from tests.fakes import HashEmbedder

EMBEDDER = HashEmbedder()


def chunk(*headings: str) -> Chunk:
    return Chunk("garden.md", "Garden", headings, "Text.", 1, 1)


WATER = chunk("How much water do tomatoes need?")
SOIL = chunk("Care", "Which soil do tomatoes like?")
POTS = chunk("Clay pots with good soil")


def suggested(query: str, *chunks: Chunk, asked: tuple[str, ...] = (), cited: tuple[Chunk, ...] = ()) -> list[str]:
    return list(next_questions(query, asked, cited, chunks, EMBEDDER))


def test_questions_come_before_other_headings_and_the_nearest_first() -> None:
    found = suggested("Which soil is good?", POTS, WATER, SOIL)
    assert found == ["Which soil do tomatoes like?", "How much water do tomatoes need?", "Clay pots with good soil"]


def test_what_is_cited_was_asked_or_asks_the_same_is_left_out() -> None:
    assert suggested("Which soil is good?", WATER, SOIL, cited=(SOIL,)) == ["How much water do tomatoes need?"]
    assert suggested("Which soil is good?", WATER, asked=("How much water do tomatoes need?",)) == []
    assert suggested("How much water do tomatoes need", WATER) == []
    same = chunk("Tomatoes need how much water?")
    assert len(suggested("Which soil is good?", WATER, same)) == 1


def test_a_heading_that_is_no_question_must_be_near() -> None:
    assert suggested("Which soil is good?", POTS, chunk("Emergent ability")) == ["Clay pots with good soil"]
    assert suggested("Anything else?", POTS) == []


def test_headings_that_say_too_little_are_left_out_and_there_are_only_a_few() -> None:
    assert suggested("Soil?", chunk("Soil"), chunk("Good soil"), chunk()) == ["Good soil"]
    many = [chunk(f"How do {plant} ripen?") for plant in ("apples", "berries", "carrots", "dates", "figs", "grapes")]
    assert len(suggested("Anything?", *many)) == SUGGESTED
