"""Means with bootstrap intervals, and results kept by commit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"


def interval(
    values: Sequence[float], seed: int = 0, groups: Sequence[int] | None = None, rounds: int = 2000
) -> dict[str, float]:
    """Mean of ``values`` with its 95 % bootstrap interval.

    Args:
        groups: which values hang together (sentences of one answer, say); these are drawn together.
    """
    sample = np.asarray(values, float)
    _, group = np.unique(np.arange(len(sample)) if groups is None else np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(group, sample), np.bincount(group)
    picks = np.random.default_rng(seed).integers(0, len(sums), (rounds, len(sums)))
    low, high = np.percentile(sums[picks].sum(axis=1) / counts[picks].sum(axis=1), [2.5, 97.5])
    return {"mean": round(float(sample.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median of ``values`` and the quartiles around it; nothing known (zeros) when there are none."""
    low, median, high = np.percentile(values, [25, 50, 75]) if len(values) else (0.0, 0.0, 0.0)
    return {"median": round(float(median), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def show(value: dict[str, float]) -> str:
    """``.944 (.931–.956)``."""
    mean, low, high = (f"{value[key]:.3f}".replace("0.", ".", 1) for key in ("mean", "low", "high"))
    return f"{mean} ({low}–{high})"


def keep(metric: str, result: dict[str, Any]) -> Path:
    """Write ``result`` to ``results/<metric>.json``, with the commit it was measured at; say what has changed."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{metric}.json"
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        print("\n".join(changes(before, result)) or f"As at {before['commit']}.", file=sys.stderr)
    if _commit().endswith("dirty"):
        print("There are changes that are not committed: the result belongs to no commit.", file=sys.stderr)
    path.write_text(json.dumps({"commit": _commit(), **result}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def changes(before: Any, now: Any, name: str = "") -> list[str]:
    """A line for each mean or median that left the interval it had ``before``."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return []
    for middle in ("mean", "median"):
        if {middle, "low", "high"} <= before.keys() & now.keys():
            is_same = before["low"] <= now[middle] <= before["high"]
            return [] if is_same else [f"{name}: {before[middle]} before, {now[middle]} now"]
    return [line for key in now for line in changes(before.get(key), now[key], f"{name} {key}".strip())]


def _commit() -> str:
    """The commit that is measured; results that were just written do not make it a dirty one."""
    version = _git("rev-parse", "--short", "HEAD") or "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/evaluation/results")
    return f"{version}-dirty" if changed else version


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=RESULTS.parent)
    return done.stdout.strip()
