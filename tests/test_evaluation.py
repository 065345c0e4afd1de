"""What is measured: when an answer counts as right, and how a figure is shown."""

from __future__ import annotations

import pytest

from evaluation.answers import is_right
from evaluation.data import read_questions
from evaluation.statistics import interval, show


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("It was the Eiffel-Tower, in Paris.", True),
        ("It was a tower of Eiffel.", False),
        ("The Eiffeltower " + "and so on " * 30, False),
        ("", False),
    ],
)
def test_an_answer_is_right_when_it_briefly_holds_a_gold_one(text: str, right: bool) -> None:
    assert is_right(text, ["the Eiffel-Tower", "no other"]) is right


def test_a_mean_is_shown_with_its_interval() -> None:
    assert show(interval([1.0] * 20)) == "1.000 (1.000–1.000)"
    value = interval([0.0, 1.0] * 50)
    assert value["low"] < value["mean"] == 0.5 < value["high"]
    assert show({"mean": 0.944, "low": 0.931, "high": 0.956}) == ".944 (.931–.956)"
    assert show({"mean": -0.01, "low": -0.04, "high": 0.02}) == "-.010 (-.040–.020)"


def test_our_own_questions_can_be_passed_and_failed() -> None:
    questions = read_questions()
    assert len({question.identifier for question in questions}) == len(questions)
    for question in questions:
        assert (question.kind == "answerable") == bool(question.facts)
        assert question.need <= len(question.facts)
