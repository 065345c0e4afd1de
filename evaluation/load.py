"""A page under load: more and more readers who ask, read and leave, through the real door of a real server.

Each reader asks a question of the development half, reads what comes, waits a little and asks another; one of five
leaves when the first sentence is there. A reader who is told that the line is full comes back after a few seconds.
Whatever else comes back is a failure. The memory of the server is looked at before and after (on Linux).
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from assistant.errors import ServerError
from assistant.progress import ProgressBar
from assistant.schemas import Progress
from assistant.settings import Settings
from evaluation.data import OWN, read_questions
from evaluation.drawing import draw_load
from evaluation.statistics import keep

READERS = (1, 4, 8, 16, 32)
SECONDS = 60.0
"""How long questions are asked with each number of readers; those that run at the end are answered."""
READING_SECONDS = (1.0, 5.0)
COME_BACK_SECONDS = 5.0
LEAVES = 0.2
READY_SECONDS = 600


@dataclass(slots=True)
class Round:
    """What became of the questions of so many readers; times are in seconds."""

    readers: int
    busy: int = 0
    left: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Counts, and the middle and the slow end of the times."""
        return {
            "readers": self.readers,
            "answered": len(self.total),
            "refused": self.refused,
            "left": self.left,
            "busy": self.busy,
            "failures": self.failures,
            "first_sentence_s": _percentiles(self.first),
            "total_s": _percentiles(self.total),
        }


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Six rounds of a minute each; ``data`` and ``limit`` are not used."""
    questions = [question.text for question in read_questions(next(iter(OWN))) if not question.conversation]
    with ProgressBar() as bar, _server(settings, bar) as (address, process):
        asyncio.run(_round(address, questions, READERS[2], seed, SECONDS / 2))  # what grows once, grows now
        resident = [resident_megabytes(process.pid)]
        rounds = []
        # the last round is asked once more: what has grown by then is kept, what grows on is lost
        for number, readers in enumerate([*READERS, READERS[-1]]):
            bar.show(Progress("Asking", number, len(READERS) + 1, "rounds"))
            rounds.append(asyncio.run(_round(address, questions, readers, seed, SECONDS)).summary())
            resident.append(resident_megabytes(process.pid))
    result = {
        "model": settings.model,
        "seed": seed,
        "rounds": rounds,
        "resident_mb": resident,
        "failures": sum(len(one["failures"]) for one in rounds),
    }
    path = keep("load", result)
    for one in rounds:
        print(one)
    print("resident memory, MB:", result["resident_mb"])
    if importlib.util.find_spec("matplotlib"):
        draw_load(rounds[: len(READERS)])
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


async def _round(address: str, questions: list[str], readers: int, seed: int, seconds: float) -> Round:
    found = Round(readers)
    limits = httpx.Limits(max_connections=readers)
    async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as client:
        end = time.monotonic() + seconds
        await asyncio.gather(
            *(_reader(client, found, questions, random.Random(f"{seed} {n}"), end) for n in range(readers))
        )
    return found


async def _reader(
    client: httpx.AsyncClient, found: Round, questions: list[str], chance: random.Random, end: float
) -> None:
    await asyncio.sleep(chance.uniform(0, READING_SECONDS[1]))
    while time.monotonic() < end:
        try:
            busy = await _ask(client, found, chance.choice(questions), leaves=chance.random() < LEAVES)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            found.failures.append(repr(error))
            busy = False
        await asyncio.sleep(COME_BACK_SECONDS if busy else chance.uniform(*READING_SECONDS))


async def _ask(client: httpx.AsyncClient, found: Round, question: str, leaves: bool) -> bool:
    """Ask once; whether the line was full."""
    body = {"messages": [{"role": "user", "content": question}], "stream": True}
    asked = time.monotonic()
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code == 429:
            found.busy += 1
            if not answer.headers.get("retry-after", "").isdigit():
                found.failures.append("busy without Retry-After")
            return True
        if answer.status_code != 200:
            found.failures.append(f"status {answer.status_code}")
            return False
        first = 0.0
        chunk: dict[str, Any] = {}
        async for line in answer.aiter_lines():
            if line == "data: [DONE]":
                found.total.append(time.monotonic() - asked)
                found.first.append(first)
                found.refused += bool(chunk["refused"])
                return False
            if line:
                chunk = json.loads(line.removeprefix("data: "))
                first = first or (time.monotonic() - asked if chunk["choices"][0]["delta"].get("content") else 0.0)
            if first and leaves:
                found.left += 1
                return False
    found.failures.append("an answer that does not end")
    return False


@contextmanager
def _server(settings: Settings, bar: ProgressBar) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "ASSISTANT_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "assistant", "serve"], env=environment, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _is_ready(address):
            bar.show(Progress("Starting the server", 0, 0, ""))
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerError("The server did not start: run `python -m assistant doctor` to see why.")
            time.sleep(0.5)
        yield address, process
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def resident_megabytes(process: int) -> int:
    """Megabytes in memory that belong to the process alone; 0 where the system does not say."""
    status = Path(f"/proc/{process}/status")
    match = re.search(r"RssAnon:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(match[1]) // 1000 if match else 0


def _percentiles(values: list[float]) -> dict[str, float]:
    middle, slow = np.percentile(values, [50, 95]) if values else (0.0, 0.0)
    return {"p50": round(float(middle), 2), "p95": round(float(slow), 2)}
