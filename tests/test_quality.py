"""The quality gate: it passes as things are, and fails for builds that are deliberately worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant import choosing, claims, retrieval
from assistant.pipeline import Assistant
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.ingestion.builder import build
from assistant.settings import Settings
from evaluation.gate import FIXED, FLOORS, Sample, below, evidence, failed, open_sample, passages, sentences
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return open_sample(Settings(), tmp_path_factory.mktemp("sample"))


def test_quality_has_not_fallen(sample: Sample) -> None:
    numbers = {**passages(sample), **evidence(sample), **sentences(sample)}
    assert numbers.keys() == FLOORS.keys()
    assert below(numbers) == [], numbers


def test_without_full_text_the_gate_fails(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "DENSE_WEIGHT", 1.0)
    assert "passages found for follow-ups (nDCG@10)" in below(passages(sample))


def test_without_rules_for_sentences_the_gate_fails(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "RULES", {})
    assert below(sentences(sample)) == ["errors withheld"]


@pytest.mark.parametrize(("enough", "why"), [(0.0, "everything is answered"), (1.5, "nearly everything is refused")])
def test_with_a_wrong_bar_for_evidence_the_gate_fails(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, enough: float, why: str
) -> None:
    monkeypatch.setattr(choosing, "ENOUGH", enough)
    assert below(evidence(sample)) == ["enough evidence (balanced accuracy)"], why


def test_fixed_questions_are_passed_by_the_real_model(weights_cache: Path, own_index: Path) -> None:
    settings = Settings(knowledge=ROOT / "knowledge", index=own_index, cache=weights_cache)
    build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings))
    assistant = Assistant.from_settings(settings)
    assert failed(assistant) == []
    assistant.model.close()
    assert len(FIXED) == 3
