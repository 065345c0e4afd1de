"""Fixtures: every test has a cache, a knowledge folder and an index of its own, and no setting of the user's."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from assistant.settings import Settings
from evaluation.statistics import keep

STARTED = time.monotonic()
ROOT = Path(__file__).parents[1]
USER_CACHE = Path(os.environ.get("ASSISTANT_CACHE") or platformdirs.user_cache_dir("groundwork", appauthor=False))

# no test asks a hub, whatever the machine's settings are
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ASSISTANT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ASSISTANT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def knowledge(tmp_path: Path) -> Path:
    """A small knowledge folder about kitchens and gardens."""
    folder = tmp_path / "knowledge"
    (folder / "garden").mkdir(parents=True)
    (folder / "garden" / "tomatoes.md").write_text(TOMATOES, encoding="utf-8")
    (folder / "bread.md").write_text(BREAD, encoding="utf-8")
    (folder / "kettle.txt").write_text(KETTLE, encoding="utf-8")
    return folder


@pytest.fixture
def settings(knowledge: Path, tmp_path: Path) -> Settings:
    return Settings(knowledge=knowledge, index=tmp_path / "index", cache=tmp_path / "cache", model="smollm2-135m")


@pytest.fixture(scope="session")
def weights_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds the real weights, which `make test` has fetched, and nothing else of the user's."""
    source = USER_CACHE / "weights"
    if not source.is_dir():
        pytest.fail(f"There are no weights in {source}: run `make test`, which fetches them first.")
    folder = tmp_path_factory.mktemp("cache")
    (folder / "weights").mkdir()
    for path in source.iterdir():
        if path.suffix == ".gguf":
            (folder / "weights" / path.name).symlink_to(path)
        elif path.suffix == ".verified":
            shutil.copy(path, folder / "weights" / path.name)
    return folder


@pytest.fixture(scope="session")
def own_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the index of our own documents is: it takes a minute, and who comes later finds it up to date."""
    return tmp_path_factory.mktemp("own") / "index"


@pytest.fixture
def count_of_inputs(record_property: Callable[[str, object], None]) -> Iterator[list[None]]:
    """A test of made-up inputs adds an entry for each; `make soak` reports how many there were."""
    inputs: list[None] = []
    yield inputs
    record_property("inputs", len(inputs))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What became of a whole `make soak`, kept beside the other results."""
    if config.option.markexpr != "soak" or config.option.keyword or config.args != config.getini("testpaths"):
        return
    files: dict[str, dict[str, int]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            counts = files.setdefault(Path(report.location[0]).name, {"inputs": 0})
            counts[outcome] = counts.get(outcome, 0) + 1
    for report in terminalreporter.stats.get("", []):  # of fixtures that are done with
        if report.when == "teardown":
            files[Path(report.location[0]).name]["inputs"] += int(dict(report.user_properties).get("inputs", 0))
    seconds = round(time.monotonic() - STARTED)
    keep("soak", {"seconds": seconds, "files": dict(sorted(files.items()))})


TOMATOES = """---
title: Growing tomatoes
summary: How to grow tomatoes on a balcony.
updated: 2026-01-01
sources: []
---

# Growing tomatoes

A tomato is a plant that bears red fruit.

## Watering

Tomatoes need two litres of water every day in summer. Water them in the morning, never at noon.

- Wet leaves bring mould.
- A mulch of straw keeps the soil moist.

## Choosing a pot

A tomato pot holds at least twenty litres. Clay pots dry out sooner than plastic ones.
"""

BREAD = """# Baking bread

Bread is baked from flour, water, salt and yeast.

## Rising

Dough rises for ninety minutes at 24 degrees. Cold dough rises more slowly, and tastes better.

## Baking

Bread bakes for forty minutes at 230 degrees. A bowl of water in the oven makes the crust crisp.
"""

KETTLE = """A kettle boils one litre of water in three minutes.

Descale the kettle with vinegar once a month.
"""
