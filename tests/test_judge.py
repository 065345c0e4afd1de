"""The judge: facts that must stand in the evidence, and scores between 0 and 1."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assistant.errors import ModelError
from assistant.retrieval.judge import (
    CrossEncoderJudge,
    Scale,
    match,
    missing_facts,
    names,
    relevance_features,
    scales,
    support_features,
)
from assistant.schemas import Chunk, SearchResult
from tests.fakes import HashEmbedder


@pytest.mark.parametrize(
    ("claim", "evidence", "missing"),
    [
        ("It has 25 doors.", "The house has twenty-five doors.", []),
        ("It has twenty-six doors.", "The house has 25 doors.", ["26"]),
        ("It has 1,000 doors.", "1000 doors", []),
        ("It has 47 doors.", "The error E-1047 is shown on door 7.", ["47"]),
        (
            "The error E-1074 means that it is dry.",
            "The error E-1047 means that it is clogged.",
            ["1074", "E-1074", "e-1074"],
        ),
        ("Rinse it after e-1047.", "The error E-1047 means that it is clogged.", []),
        ("The first was built by Watt.", "Watt built the first one.", []),
        ("The first was built by Newcomen.", "Watt built the first one.", ["Newcomen"]),
        ("The first was built by watt's firm.", "Watt built the first one.", []),
        ("They asked Watt's daughter.", "James Watt had a daughter.", []),
        ("An agent can use an LLM.", "Large Language Models drive agents.", []),
        ("Many LLMs are open.", "An LLM may be open.", []),
        ("The UNO met.", "The two nations met.", ["UNO"]),
        # the first word of a sentence has a capital anyway
        ("Pumps run dry. Filters clog.", "water", []),
        ("- Pumps", "water", []),
        ("It was built by Ann.", "One cannot build it.", ["Ann"]),
        ("It was GPT-4.", "It was GPT-4o.", ["gpt-4"]),
        ("", "", []),
    ],
)
def test_numbers_identifiers_and_names_must_stand_in_the_evidence(
    claim: str, evidence: str, missing: list[str]
) -> None:
    assert sorted(missing_facts(claim, evidence)) == missing


def test_names_are_words_with_a_capital_inside_a_sentence() -> None:
    assert names('The pump by Watt and Watt\'s "Old Bess" stood in Soho. Steam drove it.') == [
        "Watt",
        "Old",
        "Bess",
        "Soho",
    ]


@pytest.mark.parametrize("features", [(0.0, 0.0), (1e9, 1e9), (-1e9, -1e9), (0.3, -2.0)])
def test_a_score_lies_between_0_and_1(features: tuple[float, ...]) -> None:
    scale = Scale((2.0, -1.0), 0.5, 0.5)
    score = scale.score(features)
    assert 0.0 <= score <= 1.0
    assert score == pytest.approx(1 / (1 + math.exp(-max(-60, min(60, 2 * features[0] - features[1] + 0.5)))))


def test_a_score_wants_all_its_features() -> None:
    with pytest.raises(ValueError, match="zip"):
        Scale((2.0, -1.0), 0.5, 0.5).score([1.0])


def test_what_is_stored_fits_the_features() -> None:
    question, evidence, other, empty = HashEmbedder().encode(["big pot", "A pot that is big.", "A straw", ""])
    weights = np.ones(len(question.ids), np.float32)
    results = [SearchResult(n, Chunk("a.md", "A", (), "", 1, 1), 1.0, 0.5, e) for n, e in enumerate((evidence, other))]
    features = {
        "relevance": relevance_features(question, weights, results, [evidence]),
        "support": support_features(question, weights, match(question, evidence), match(question, other), 0.5),
    }
    for name, scale in scales().items():
        assert 0 <= scale.score(features[name]) <= 1
        assert 0 < scale.threshold < 1
    # also where there is nothing at all
    nothing = [SearchResult(1, results[0].chunk, 1.0, 0.5, empty)]
    assert all(map(math.isfinite, relevance_features(empty, np.zeros(0, np.float32), nothing, [])))
    none = match(empty, empty)
    assert all(map(math.isfinite, support_features(empty, np.zeros(0, np.float32), none, none, 0.0)))


def test_a_match_says_how_similar_and_whether_literal_and_grows_with_more_evidence() -> None:
    text, one, other = HashEmbedder().encode(["pots of clay", "A pot.", "Clay and straw."])
    first, second = match(text, one), match(text, other)
    assert first.similarity.tolist() == [0.0, 0.0, 0.0] or first.similarity[0] in (0.0, 1.0)
    assert second.is_literal.tolist() == [0.0, 0.0, 1.0]
    joined = first.joined(second)
    assert (joined.similarity >= first.similarity).all()
    assert (joined.similarity >= second.similarity).all()


def test_a_judge_that_is_not_there_says_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"nobody/nothing cannot be loaded.*set ASSISTANT_JUDGE"):
        CrossEncoderJudge("nobody/nothing")
