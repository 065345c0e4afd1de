"""Means with bootstrap intervals, and results kept by commit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"


def interval(values: Sequence[float], seed: int = 0, rounds: int = 2000) -> dict[str, float]:
    """Mean of ``values`` with its 95 % bootstrap interval."""
    sample = np.asarray(values, float)
    picks = np.random.default_rng(seed).integers(0, len(sample), (rounds, len(sample)))
    low, high = np.percentile(sample[picks].mean(axis=1), [2.5, 97.5])
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
    """Write ``result`` to ``results/<metric>.json``, with the commit it was measured at."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{metric}.json"
    path.write_text(json.dumps({"commit": _commit(), **result}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=RESULTS.parent)
    return done.stdout.strip() or "unknown"
