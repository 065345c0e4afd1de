"""What it costs to share the cores: how fast is written and embedded alone, beside each other, and beside a program.

With threads that wait as `assistant.llm.threads` has it, and as GNU's OpenMP library has it by itself. Each round asks
both, in processes of their own and in turns. *Writing* counts tokens a second behind the first one, *embedding*
questions a second. The other program keeps one core busy and does nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from assistant.llm.llama_cpp import LlamaModel
from assistant.llm.threads import SPINS
from assistant.llm.weights import TABLE, fetch
from assistant.progress import ProgressBar
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.schemas import Message, Progress
from assistant.settings import Settings
from evaluation.statistics import keep, quartiles

LONG = 300_000
"""GNU's own choice."""
ROUNDS = 5
WRITTEN, EMBEDDED = 30, 40
ASKED = [Message("user", ("Tell a long story about a fox in the snow.",))]


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Time both ways of waiting in `ROUNDS` rounds; ``data``, ``limit`` and ``seed`` are not used."""
    rounds: list[dict[str, dict[str, float]]] = []
    with ProgressBar() as bar:
        weights = fetch(TABLE[settings.model], settings.cache, bar.show)
        for number in range(ROUNDS):
            bar.show(Progress("Timing", number, ROUNDS, "rounds"))
            order = (SPINS, LONG) if number % 2 else (LONG, SPINS)
            told = {spins: _in_a_process(spins, weights, settings) for spins in order}
            rounds.append({"brief": told[SPINS], "long": told[LONG]})
    ratios = {name: quartiles([one["brief"][name] / one["long"][name] for one in rounds]) for name in rounds[0]["long"]}
    result = {
        "model": settings.model,
        "threads": settings.thread_count,
        "brief_of_long": ratios,
        "rounds": rounds,
    }
    path = keep("sharing", result)
    for name, ratio in ratios.items():
        speeds = [quartiles([one[way][name] for one in rounds])["median"] for way in ("long", "brief")]
        print(f"{name:28} {speeds[0]:6.1f} {speeds[1]:6.1f} {ratio['median']:6.2f} ({ratio['low']}–{ratio['high']})")
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _in_a_process(spins: int, weights: Path, settings: Settings) -> dict[str, float]:
    """What `measured` tells where threads wait for so many rounds."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _set_spins, (spins,)) as pool:
        return pool.submit(measured, weights, settings).result()


def _set_spins(spins: int) -> None:
    os.environ["GOMP_SPINCOUNT"] = str(spins)


def measured(weights: Path, settings: Settings) -> dict[str, float]:
    """Tokens and questions a second in every situation."""
    model = LlamaModel(weights, settings.model, settings.thread_count)
    embedder = SentenceEmbedder.from_settings(settings)

    def write() -> float:
        times = [time.monotonic() for _ in model.stream(ASKED, WRITTEN, Event())]
        return (len(times) - 1) / (times[-1] - times[0])

    def embed() -> float:
        started = time.monotonic()
        for number in range(EMBEDDED):
            embedder.embed([f"how long does loaf number {number} stay in the oven"])
        return EMBEDDED / (time.monotonic() - started)

    write(), embed()  # what comes first is slower
    speeds = {"writing alone": write(), "embedding alone": embed()}
    with _meanwhile(embed):
        speeds["writing beside embedding"] = write()
    with _meanwhile(write):
        speeds["embedding beside writing"] = embed()
    with _busy_program():
        speeds["writing beside a program"] = write()
        speeds["embedding beside a program"] = embed()
    model.close()
    return speeds


@contextmanager
def _meanwhile(work: Callable[[], Any]) -> Iterator[None]:
    """A thread that does this work over and over."""
    ended = Event()

    def over_and_over() -> None:
        while not ended.is_set():
            work()

    thread = Thread(target=over_and_over)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _busy_program() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()
