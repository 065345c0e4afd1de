"""Which passage is read: where likeness decides, where the model looks, and where nothing answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from assistant.choosing import (
    ENOUGH,
    NEEDED,
    NEEDED_OF_BARE,
    NEEDED_OF_UNKNOWN,
    OF_STRENGTH,
    RIVAL_DISTANCE,
    RIVALS,
    choose,
    lead_needed,
    put_first,
)
from assistant.schemas import Chunk, SearchResult


def found(*scores: float) -> list[SearchResult]:
    return [
        SearchResult(n, Chunk(f"{n}.md", f"Title {n}", (), "Text.", 1, 1), score, 0.5) for n, score in enumerate(scores)
    ]


def chosen(scores: Sequence[float], leads: Sequence[float], needed: float = -math.inf) -> tuple[int | None, list[int]]:
    """The place of the passage that is chosen, and the places of those that are looked at."""
    looked: list[int] = []

    def look(results: Sequence[SearchResult]) -> list[float]:
        looked.extend(result.identifier for result in results)
        return [leads[result.identifier] for result in results]

    best = choose(found(*scores), lambda _: needed, look)
    return best.identifier if best else None, looked


def test_the_weaker_the_evidence_the_clearer_the_yes_must_be() -> None:
    assert lead_needed(ENOUGH - 0.01, has_unknown_name=False, has_questions=True) == math.inf
    weak, strong = (lead_needed(strength, has_unknown_name=False, has_questions=True) for strength in (ENOUGH, 2.0))
    assert weak == pytest.approx(NEEDED - OF_STRENGTH * ENOUGH)
    assert weak > strong


def test_a_clearer_yes_is_asked_of_what_nobody_vouched_for() -> None:
    told, bare, unknown = (lead_needed(1.0, *doubts) for doubts in ((False, True), (False, False), (True, True)))
    assert bare - told == pytest.approx(NEEDED_OF_BARE - NEEDED)
    assert unknown - told == pytest.approx(NEEDED_OF_UNKNOWN)
    assert min(bare, unknown) > told


def test_each_passage_must_have_the_lead_that_it_needs() -> None:
    bare, asked = found(5.0, 4.9)
    bars = {bare.identifier: 1.0, asked.identifier: -1.0}

    def best(*leads: float) -> SearchResult | None:
        return choose([bare, asked], lambda result: bars[result.identifier], lambda _: leads)

    assert best(0.9, -0.5) is None
    assert best(1.0, 0.5) == bare
    assert best(-2.0, -0.9) == asked


def test_a_passage_without_rivals_is_looked_at_alone() -> None:
    assert chosen([5.0, 4.0 - RIVAL_DISTANCE, 1.0], [-9.0, 9.0, 9.0]) == (0, [0])


def test_of_rivals_the_one_that_answers_is_read() -> None:
    assert chosen([5.0, 4.6, 4.5, 1.0], [-2.0, 0.5, 0.1, 9.0]) == (1, [0, 1, 2])
    # a lead counts like a score
    assert chosen([5.0, 4.5], [0.5, 0.9])[0] == 0
    assert chosen([5.0, 4.5], [0.5, 1.1])[0] == 1


def test_only_so_many_are_looked_at() -> None:
    assert chosen([5.0] * 9, [float(n) for n in range(9)]) == (RIVALS - 1, list(range(RIVALS)))


def test_in_doubt_one_must_answer() -> None:
    assert chosen([5.0], [-0.4], -0.4) == (0, [0])
    assert chosen([5.0], [-0.41], -0.4) == (None, [0])
    assert chosen([5.0, 4.9], [-1.0, 2.0], -0.4) == (1, [0, 1])


def test_where_nothing_is_near_nothing_is_looked_at() -> None:
    assert chosen([5.0, 4.9], [9.0, 9.0], math.inf) == (None, [])
    assert chosen([], []) == (None, [])


def test_the_chosen_passage_goes_before_the_others() -> None:
    results = found(5.0, 4.5, 1.0)
    first, *others = put_first(results[1], results)
    assert (first.identifier, first.score) == (1, 5.0)
    assert others == [results[0], results[2]]
