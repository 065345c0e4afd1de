"""The quality gate: it passes as things are, and fails for builds that are deliberately worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.pipeline import Assistant
from assistant.retrieval import hybrid_search, judge, verifier
from assistant.retrieval.builder import build
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.settings import Settings
from evaluation.gate import FIXED, FLOORS, Sample, below, claims, failed, open_sample, passages
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return open_sample(Settings(), tmp_path_factory.mktemp("sample"))


def test_quality_has_not_fallen(sample: Sample) -> None:
    numbers = {**passages(sample), **claims(sample.retriever, sample.claims)}
    assert numbers.keys() == FLOORS.keys()
    assert below(numbers) == [], numbers


def test_without_late_interaction_the_gate_fails(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid_search, "TOKENS_WEIGHT", 0.0)
    assert "passages found for follow-ups (nDCG@10)" in below(passages(sample))


def test_without_the_rule_for_facts_the_gate_fails(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "missing_facts", lambda claim, evidence: [])
    assert below(claims(sample.retriever, sample.claims)) == ["false claims not supported"]


@pytest.mark.parametrize(
    ("threshold", "fallen"), [(0.0, "false claims not supported"), (0.9999, "true claims supported")]
)
def test_with_a_wrong_threshold_the_gate_fails(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, threshold: float, fallen: str
) -> None:
    scales = judge.scales()
    wrong = judge.Scale(scales["support"].weights, scales["support"].bias, threshold)
    monkeypatch.setattr(verifier, "scales", lambda: {**scales, "support": wrong})
    assert below(claims(sample.retriever, sample.claims)) == [fallen]


def test_fixed_questions_are_passed_by_the_real_model(weights_cache: Path, own_index: Path) -> None:
    settings = Settings(knowledge=ROOT / "knowledge", index=own_index, cache=weights_cache)
    build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings))
    assistant = Assistant.from_settings(settings)
    assert failed(assistant) == []
    assistant.model.close()
    assert len(FIXED) == 3
