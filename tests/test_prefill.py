"""Reading ahead: in the order of use, once, again after a change, and not beyond the room there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

import pytest

from assistant import prefill
from assistant.errors import ModelError
from assistant.pipeline import Assistant
from assistant.prefill import ReadAhead, most_useful_first
from assistant.retrieval.builder import build
from assistant.retrieval.hybrid_search import Retriever
from assistant.retrieval.store import KnowledgeIndex
from assistant.schemas import Chunk, Message
from tests.fakes import HashEmbedder, ScriptedModel


class RememberingModel(ScriptedModel):
    """Keeps the first ``room`` prompts that it is to read ahead."""

    def __init__(self, room: int) -> None:
        super().__init__("")
        self.kept: list[str] = []
        self.room = room

    def read_ahead(self, messages: Sequence[Message], stop: Event) -> bool:
        if len(self.kept) == self.room:
            return False
        self.kept.append(messages[1].pieces[1])
        return True


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(prefill, "PAUSE_SECONDS", 0.0)


def _assistant(knowledge: Path, index: Path, model: RememberingModel) -> Assistant:
    embedder = HashEmbedder()
    build(knowledge, index, embedder)
    return Assistant(Retriever(KnowledgeIndex(index, embedder.name), embedder), embedder, model)


def test_the_first_passage_of_every_document_comes_first() -> None:
    chunks = [Chunk(document, "", (), f"{document}{n}", n, n) for document in "ab" for n in range(2)]
    assert [chunk.text for chunk in most_useful_first(chunks)] == ["a0", "b0", "a1", "b1"]


def test_every_passage_is_read_once_and_new_ones_when_they_come(knowledge: Path, tmp_path: Path) -> None:
    model = RememberingModel(100)
    ahead = ReadAhead(_assistant(knowledge, tmp_path / "index", model))
    ahead.start()
    _until(lambda: 0 < ahead.total == ahead.read)
    before = len(model.kept)
    assert before == len(set(model.kept)) == ahead.total
    (knowledge / "basil.md").write_text("# Basil\n\nBasil needs shade.\n")
    build(knowledge, tmp_path / "index", HashEmbedder())
    _until(lambda: any("Basil needs shade." in text for text in model.kept))
    ahead.close()


class SlowModel(RememberingModel):
    """Reads a passage for a minute, or until it is stopped."""

    def read_ahead(self, messages: Sequence[Message], stop: Event) -> bool:
        self.kept.append("begun")
        return not stop.wait(60)


class FailingModel(RememberingModel):
    """Fails at every passage."""

    def read_ahead(self, messages: Sequence[Message], stop: Event) -> bool:
        self.kept.append("tried")
        raise ModelError("The engine failed: start the program anew.")


def test_a_failure_is_logged_and_tried_again_after_a_pause(
    knowledge: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = FailingModel(9)
    ahead = ReadAhead(_assistant(knowledge, tmp_path / "index", model))
    ahead.start()
    _until(lambda: len(model.kept) == 2)
    assert ahead._thread.is_alive()
    ahead.close()
    assert len(caplog.records) == len(model.kept)
    assert "The engine failed" in caplog.text


def test_it_ends_in_the_middle_of_a_passage(knowledge: Path, tmp_path: Path) -> None:
    model = SlowModel(9)
    ahead = ReadAhead(_assistant(knowledge, tmp_path / "index", model))
    ahead.start()
    _until(lambda: bool(model.kept))
    ahead.close()
    assert not ahead._thread.is_alive()
    assert (model.kept, ahead.read) == (["begun"], 0)


def test_without_room_it_ends_and_says_how_far_it_came(knowledge: Path, tmp_path: Path) -> None:
    model = RememberingModel(2)
    ahead = ReadAhead(_assistant(knowledge, tmp_path / "index", model))
    ahead.start()
    _until(lambda: ahead.total > 2 and ahead._thread.is_alive() and ahead.read == 2)
    ahead.close()
    assert len(model.kept) == 2


def test_an_index_that_goes_away_does_not_end_it(knowledge: Path, tmp_path: Path) -> None:
    model = RememberingModel(100)
    ahead = ReadAhead(_assistant(knowledge, tmp_path / "index", model))
    (tmp_path / "index" / "index.sqlite").rename(tmp_path / "elsewhere")
    ahead.start()
    time.sleep(0.2)
    assert model.kept == []
    (tmp_path / "elsewhere").rename(tmp_path / "index" / "index.sqlite")
    _until(lambda: 0 < ahead.total == ahead.read)
    ahead.close()
