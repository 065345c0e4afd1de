"""What is measured: when an answer counts as right, and how a figure is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Event

import pytest

from assistant.models.llama import LlamaModel
from assistant.models.weights import TABLE
from assistant.types import Message, Passage
from evaluation import speed, ways
from evaluation.answers import KeptAnswers, is_right, unmarked
from evaluation.data import OWN, read_questions
from evaluation.likelihood import log_probability
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
    questions = [question for half in OWN for question in read_questions(half)]
    assert len({question.identifier for question in questions}) == len(questions)
    assert len({question.text for question in questions if question.kind != "follow-up"}) >= 150
    for question in questions:
        assert (question.kind != "refuse") == bool(question.facts)
        assert (question.kind == "follow-up") == bool(question.conversation)
        assert question.need <= len(question.facts)


ASKED = [
    Message("system", ("You are helpful.",)),
    Message("user", (Passage("France lies in Europe.\n"), "What is the capital of France? Answer in one word.")),
]


@pytest.fixture(scope="module")
def smol(weights_cache: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(weights_cache / "weights" / TABLE["smollm2-135m"].file, "smollm2-135m", 2)
    yield model
    model.close()


def test_what_the_model_writes_is_likelier_than_what_it_does_not(smol: LlamaModel) -> None:
    answer = "".join(token.text for token in smol.stream(ASKED, 16, Event()))
    own, other = (log_probability(smol, ASKED, text) for text in (answer, "A kettle boils in three minutes."))
    assert other < own < 0
    # one passage stands where it was computed, so that nothing is lost by splicing
    assert log_probability(smol, unmarked(ASKED), answer) == pytest.approx(own, abs=0.05)


def test_an_answer_is_kept_by_its_prompt(smol: LlamaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = KeptAnswers(tmp_path / "answers.jsonl", smol).answered(ASKED)
    again = KeptAnswers(tmp_path / "answers.jsonl", smol)
    monkeypatch.setattr(LlamaModel, "stream", None)
    assert again.answered(ASKED) == first
    with pytest.raises(TypeError):
        again.answered(unmarked(ASKED))


def test_ways_of_answering_are_timed_in_processes_of_their_own(weights_cache: Path, tmp_path: Path) -> None:
    setup = ways.Setup(weights_cache / "weights" / TABLE["smollm2-135m"].file, 2, tmp_path)
    warm = ways.Way(ways.warm, setup)
    assert warm.ask(ASKED, 4).reused_tokens < warm.ask(ASKED, 4).reused_tokens
    timing = warm.ask(ASKED, 4)
    assert 0 < timing.first_ms < timing.total_ms
    assert timing.tokens == 4
    assert warm.close() > 0
    rows = [{start.__name__: asdict(timing) for start in speed.WAYS}] * 3
    summary = speed.summary(rows, dict.fromkeys(rows[0], 1))
    assert summary["warm"]["first_word_of_full"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert summary["questions"] == 3
