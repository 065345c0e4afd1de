"""Time to the first word and to the last, Groundwork beside other ways of running the same weights.

The same questions of nq with the same four unshortened passages, greedy, in one run; the ways take turns, in an order
that moves on with each question. *Warm* means that the states of the passages are kept and the question is new;
*cold*, that no passage's is. Both look at the passages that are nearly as near as the best one, read the one that
answers, and are timed with their looks; the other ways read all four. Whether the answers are right is the affair of
`answers`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assistant.pipeline import open_retriever
from assistant.llm.weights import TABLE, fetch
from assistant.progress import ProgressBar
from assistant.settings import Settings
from assistant.schemas import Progress
from evaluation import ways
from evaluation.answers import MAX_TOKENS
from evaluation.asking import PASSAGES
from evaluation.data import open_corpus, read_queries
from evaluation.drawing import draw_speed
from evaluation.statistics import keep, quartiles

WAYS = (ways.warm, ways.cold, ways.full, ways.server, ways.transformers)
BASELINE = "full"


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Time the first ``limit`` questions of nq in every way; ``data`` and ``seed`` are not used."""
    settings = open_corpus(settings)
    retriever = open_retriever(settings)
    with ProgressBar() as bar, TemporaryDirectory() as folder:
        weights = fetch(TABLE[settings.model], settings.cache, bar.show)
        queries = [query.text for query in read_queries("nq", limit)]
        asked = [ways.Asked(text, tuple(retriever.search(text, PASSAGES))) for text in queries]
        setup = ways.Setup(weights, settings.thread_count, Path(folder))
        running = [ways.Way(start, setup) for start in WAYS]
        rows = []
        for number, one in enumerate(asked):
            bar.show(Progress("Timing", number, len(asked), "questions"))
            rows.append(_row(running, number, one))
        peaks = {way.name: way.close() for way in running}
    result = {"model": settings.model, "threads": settings.thread_count, **summary(rows, peaks), "rows": rows}
    path = keep("speed", result)
    draw_speed(result)
    print(_table(result))
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _row(running: Sequence[ways.Way], number: int, asked: ways.Asked) -> dict[str, Any]:
    """One question in every way, after the states of its passages have been kept."""
    running[0].ask(asked, 1)
    first = number % len(running)
    row: dict[str, Any] = {}
    for way in (*running[first:], *running[:first]):
        row[way.name] = asdict(way.ask(asked, MAX_TOKENS))
    return row


def summary(rows: Sequence[dict[str, Any]], peaks: dict[str, int]) -> dict[str, Any]:
    """Medians and quartiles of each way; ``peaks`` in bytes by way."""
    result: dict[str, Any] = {"questions": len(rows)}
    for name, peak in peaks.items():
        times = {key: [row[name][key] for row in rows] for key in ("first_ms", "total_ms", "tokens_a_second")}
        ratios = [row[name]["first_ms"] / row[BASELINE]["first_ms"] for row in rows]
        result[name] = {
            **{key: quartiles(values) for key, values in times.items()},
            "first_word_of_full": quartiles(ratios),
            "peak_bytes": peak,
        }
    return result


def _table(result: dict[str, Any]) -> str:
    lines = [f"{'':14}{'first word, ms':>24}{'of the full read':>20}{'whole, ms':>12}{'tokens/s':>10}{'peak GB':>9}"]
    for start in WAYS:
        row = result[start.__name__]
        first, share = row["first_ms"], row["first_word_of_full"]
        cells = (
            f"{first['median']:.0f} ({first['low']:.0f}–{first['high']:.0f})",
            f"{share['median']:.2f} ({share['low']:.2f}–{share['high']:.2f})",
            f"{row['total_ms']['median']:.0f}",
            f"{row['tokens_a_second']['median']:.1f}",
            f"{row['peak_bytes'] / 1e9:.1f}",
        )
        lines.append("{:14}{:>24}{:>20}{:>12}{:>10}{:>9}".format(start.__name__, *cells))
    return "\n".join(lines)
