"""Figures for the README, as SVG files in `evaluation/figures/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "figures"
LABELS = {
    "warm": "Groundwork, passages read before",
    "cold": "Groundwork, nothing read before",
    "full": "the same engine, prompt in full",
    "server": "llama.cpp server",
    "transformers": "transformers, float32",
}


def draw_speed(result: dict[str, Any]) -> Path:
    """Median time to the first word, a bar for each way, with the quartiles as a line."""
    names = [name for name in LABELS if name in result][::-1]
    values = [result[name]["first_ms"] for name in names]
    medians = [value["median"] / 1000 for value in values]
    spread = [_spread(values, "low"), _spread(values, "high")]
    figure, axes = _axes(2.6)
    colors = ["#0f766e" if name == "warm" else "#94a3b8" for name in names]
    axes.barh([LABELS[name] for name in names], medians, xerr=spread, color=colors, ecolor="#475569", height=0.62)
    for place, median in enumerate(medians):
        axes.text(0.1, place, f"{median:.1f} s", va="center", color="white", fontsize=9)
    axes.set_xlabel("seconds to the first word (median, quartiles)")
    return _saved(figure, "speed")


def draw_topics(shares: dict[str, tuple[int, int]]) -> Path:
    """How many questions of each topic are answered rightly: a bar each, ``(right, asked)``."""
    names = sorted(shares, key=lambda name: (shares[name][0] / shares[name][1], name))
    figure, axes = _axes(0.26 * len(names) + 0.7)
    axes.barh(names, [shares[name][1] for name in names], color="#e2e8f0", height=0.66)
    axes.barh(names, [shares[name][0] for name in names], color="#0f766e", height=0.66)
    axes.set_xlabel("questions: right and cited, of all")
    axes.tick_params(axis="y", labelsize=8)
    return _saved(figure, "topics")


def draw_load(rounds: Sequence[dict[str, Any]]) -> Path:
    """Median and 95th percentile of the first sentence and of the whole answer, by the number of readers."""
    readers = [str(one["readers"]) for one in rounds]
    figure, axes = _axes(3.0)
    for name, label, color in (
        ("first_sentence_s", "first sentence", "#0f766e"),
        ("total_s", "whole answer", "#94a3b8"),
    ):
        axes.plot(readers, [one[name]["p50"] for one in rounds], color=color, marker="o", label=f"{label}, median")
        slow = [one[name]["p95"] for one in rounds]
        axes.plot(readers, slow, color=color, marker="o", linestyle="dotted", label=f"{label}, 95th percentile")
    axes.set_xlabel("readers")
    axes.set_ylabel("seconds")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return _saved(figure, "load")


def _axes(height: float) -> tuple[Any, Any]:
    """An empty figure of this height in inches, and its axes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "groundwork"  # the same file from the same numbers
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _saved(figure: Any, name: str) -> Path:
    from matplotlib import pyplot

    path = FOLDER / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _spread(values: Sequence[dict[str, float]], side: str) -> list[float]:
    return [abs(value[side] - value["median"]) / 1000 for value in values]
