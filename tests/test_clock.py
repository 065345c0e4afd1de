"""The clock of the machine jumps, forwards and back: nothing is lost, nothing waits, nobody gets more than others.

What reads it is given one that jumps by years, as a machine's does when it is set right; times of files jump with it.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from assistant.feedback import FeedbackStore
from assistant.llm.kv_cache import StateStore
from assistant.retrieval.builder import build
from assistant.settings import Settings
from assistant.web.api import Api
from assistant.web.limits import Limits
from assistant.web.line import Line
from tests.fakes import HashEmbedder, ScriptedModel
from tests.test_web import prepared

YEAR_1971, YEAR_2100 = 3.2e7, 4.1e9


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day is in 1971 and in 2100 by turns."""
    times = cycle((YEAR_2100, YEAR_1971))
    monkeypatch.setattr(time, "time", lambda: next(times))


def test_questions_are_answered_and_counted_as_ever(settings: Settings, jumping: None) -> None:
    few = replace(settings, questions_a_minute=2)
    preparation = prepared(few, ScriptedModel("Bread bakes for forty minutes at 230 degrees."))
    door = TestClient(
        Starlette(routes=Api(few, preparation, Line(), Limits(few)).routes()),
        base_url="http://127.0.0.1:7860",
    )
    body = {"messages": [{"role": "user", "content": "How long does bread bake, and at how many degrees?"}]}
    answers = [door.post("/v1/chat/completions", json=body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 0 < int(answers[2].headers["retry-after"]) <= 60
    assert {answer.json()["created"] for answer in answers[:2]} <= {int(YEAR_1971), int(YEAR_2100)}, "it did jump"


@pytest.mark.parametrize("modified", [YEAR_1971, YEAR_2100])
def test_a_document_that_seems_older_or_newer_than_it_is_is_indexed_as_it_is(
    settings: Settings, modified: float
) -> None:
    embedder = HashEmbedder()
    build(settings.knowledge, settings.index, embedder)
    changed, unchanged = settings.knowledge / "kettle.txt", settings.knowledge / "bread.md"
    changed.write_text("A kettle whistles.\n", encoding="utf-8")
    for path in (changed, unchanged):
        os.utime(path, (modified, modified))
    report = build(settings.knowledge, settings.index, embedder)
    assert (report.updated, report.unchanged) == (1, 2)


def test_what_was_used_in_the_future_is_kept_within_the_bound(tmp_path: Path) -> None:
    store = StateStore(tmp_path, 1_000)
    for key in ("one", "two"):
        store.put(key, bytes(250))
        os.utime(tmp_path / f"{key}.state", (YEAR_2100, YEAR_2100))
    for number in range(8):
        store.put(f"now {number}", bytes([number] * 250))
        assert store.get(f"now {number}") == bytes([number] * 250)
    assert store.used() <= 1_000
    assert store.get("one") == bytes(250)


def test_verdicts_are_kept_in_the_order_in_which_they_came(tmp_path: Path, jumping: None) -> None:
    store = FeedbackStore(tmp_path, keep_questions=False)
    given = ["like", "none", "dislike", "none", "like"]
    for verdict in given:
        store.record(verdict, ["bread.md"], "", "")
    assert [row["verdict"] for row in store.verdicts()] == given
