"""What a model has read, on disk: checked, bounded, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assistant.llm.kv_cache import StateStore


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path / "states", 1000)


def test_what_was_kept_comes_back_also_after_a_restart(store: StateStore, tmp_path: Path) -> None:
    assert store.get("one") is None
    store.put("one", b"state")
    assert store.get("one") == b"state"
    assert StateStore(tmp_path / "states", 1000).get("one") == b"state"
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["one.state"]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b"x" * 500, lambda b: b[:40] + b"?"])
def test_a_damaged_or_foreign_file_counts_as_missing(store: StateStore, tmp_path: Path, damage: object) -> None:
    store.put("one", b"some state of a passage")
    path = tmp_path / "states" / "one.state"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert store.get("one") is None
    assert not store.has("one")


def test_what_was_used_longest_ago_makes_room(store: StateStore, tmp_path: Path) -> None:
    for age, key in enumerate(("new", "middle", "old")):
        store.put(key, bytes(250))
        os.utime(tmp_path / "states" / f"{key}.state", (1000 - age, 1000 - age))
    store.get("old")  # used now
    store.put("more", bytes(250))
    assert [key for key in ("new", "middle", "old", "more") if store.has(key)] == ["new", "old", "more"]
    assert store.used() <= 1000


def test_a_state_over_the_bound_is_not_kept(store: StateStore) -> None:
    store.put("large", bytes(2000))
    assert not store.has("large")
    assert not store.has_room(2000)
    assert store.has_room(900)


def test_a_folder_that_cannot_be_written_is_said_once_and_nothing_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    store = StateStore(tmp_path / "file", 1000)
    store.put("one", b"state")
    store.put("two", b"state")
    assert store.get("one") is None
    assert len(caplog.messages) == 1
    assert "ASSISTANT_CACHE" in caplog.text


def test_the_folder_may_be_deleted_at_any_time(store: StateStore, tmp_path: Path) -> None:
    store.put("one", b"state")
    (tmp_path / "states" / "one.state").unlink()
    (tmp_path / "states").rmdir()
    assert store.get("one") is None
    store.put("one", b"state")
    assert store.get("one") == b"state"
