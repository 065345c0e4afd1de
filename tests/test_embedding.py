"""The real embedder, asked from several threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from assistant.retrieval.embedder import SentenceEmbedder

TEXTS = ["When do tomatoes need water?", "How long does dough rise?", "How do I descale the kettle?"]


def test_whoever_asks_one_thread_embeds(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = SentenceEmbedder("all-MiniLM-L6-v2", 1)
    alone = embedder.embed(TEXTS)
    assert alone.shape == (3, embedder.dimension)
    assert np.linalg.norm(alone, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    names = set[str]()
    encode = embedder._model.encode

    def watched(*arguments: Any, **options: Any) -> Any:
        names.add(threading.current_thread().name)
        return encode(*arguments, **options)

    monkeypatch.setattr(embedder._model, "encode", watched)
    with ThreadPoolExecutor(4) as readers:
        together = list(readers.map(lambda text: embedder.embed([text])[0], TEXTS * 4))
        counts = list(readers.map(embedder.count, TEXTS * 4))
    assert len(names) == 1
    assert np.array(together) == pytest.approx(np.tile(alone, (4, 1)), abs=1e-5)
    assert counts == [embedder.count(text) for text in TEXTS] * 4


def test_what_goes_wrong_in_that_thread_is_told_to_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = SentenceEmbedder("all-MiniLM-L6-v2", 1)

    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(embedder._model, "encode", full)
    with pytest.raises(MemoryError, match="no room"):
        embedder.embed(TEXTS)
    monkeypatch.undo()
    assert len(embedder.embed(TEXTS)) == 3
