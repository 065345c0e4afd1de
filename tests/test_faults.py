"""Faults that really happen to a running process: a full disk, too little memory, a kill in the middle, a locked file.

Runs with `make soak`: each case starts the program several times. The disk is full for a process that may write no file
larger than so many bytes: the kernel then refuses its writes.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from assistant.retrieval.store import DATABASE
from tests.conftest import BREAD, KETTLE, ROOT, TOMATOES
from tests.servers import free_port, wait_until_ready

STEPS = ("Indexing", "Loading", "Fetching", "Checking")
pytestmark = pytest.mark.soak

QUESTION = "How long does bread bake, and at how many degrees?"


class Place:
    """A knowledge folder, an index and a cache of its own, and the command line on them."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.knowledge, self.index, self.cache = folder / "knowledge", folder / "index", folder / "cache"
        self.knowledge.mkdir()
        shutil.copytree(weights / "weights", self.cache / "weights", symlinks=True)
        for name, text in (("bread.md", BREAD), ("tomatoes.md", TOMATOES), ("kettle.txt", KETTLE)):
            (self.knowledge / name).write_text(text, encoding="utf-8")
        self.environment = {
            **os.environ,
            "ASSISTANT_MODEL": "smollm2-135m",
            "ASSISTANT_KNOWLEDGE": str(self.knowledge),
            "ASSISTANT_INDEX": str(self.index),
            "ASSISTANT_CACHE": str(self.cache),
        }

    def run(self, *arguments: str, limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "assistant", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=240, preexec_fn=limit
        )

    def answers(self) -> None:
        """It answers as if nothing had been."""
        done = self.run("ask", QUESTION, "--json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert not answer["refused"]
        assert all(citation["quote"] in BREAD for citation in answer["citations"])


@pytest.fixture
def place(tmp_path: Path, weights_cache: Path) -> Place:
    return Place(tmp_path, weights_cache)


def files_up_to(size: int) -> Callable[[], None]:
    """The disk has no room for a larger file."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, (done.stdout, done.stderr)
    (line,) = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(STEPS)]
    return line


def test_a_disk_that_is_full_while_indexing_leaves_the_old_index(place: Place) -> None:
    assert place.run("index").returncode == 0
    for number in range(40):
        (place.knowledge / f"{number}.md").write_text(f"# Number {number}\n\n{BREAD}\n")
    line = one_line(place.run("index", limit=files_up_to(100_000)))
    assert "cannot be written" in line
    assert "free disk space" in line
    place.answers()
    assert place.run("index").returncode == 0
    assert json.loads(place.run("index", "--json").stdout)["documents"] == 43


@pytest.mark.skipif(sys.platform != "linux", reason="a small volume is made with Linux's namespaces")
def test_a_volume_that_is_full_while_indexing_leaves_the_old_index(place: Place, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for number in range(40):
        (tmp_path / "more" / f"{number}.md").write_text(f"# Number {number}\n\n{BREAD}\n")
    place.index.mkdir()
    script = """
    mount -t tmpfs -o size=400k none "$ASSISTANT_INDEX"
    "$1" -m assistant index
    cp "$2"/* "$ASSISTANT_KNOWLEDGE"
    if "$1" -m assistant index; then exit 3; fi
    "$1" -m assistant ask "$3" --json
    mount -o remount,size=40m "$ASSISTANT_INDEX"
    "$1" -m assistant index --json
    """
    command = ["unshare", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]
    arguments = [sys.executable, str(tmp_path / "more"), QUESTION]
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=place.environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "free disk space" in done.stderr
    assert "Traceback" not in done.stderr
    said = done.stdout.splitlines()
    answer, report = (json.loads(line) for line in said if line.startswith("{"))
    assert all(citation["quote"] in BREAD for citation in answer["citations"])
    assert report["documents"] == 43


def test_a_disk_that_is_full_while_answering_costs_no_answer(place: Place) -> None:
    assert place.run("index").returncode == 0
    done = place.run("ask", QUESTION, limit=files_up_to(100_000))
    assert done.returncode == 0, done.stderr
    assert "forty minutes" in done.stdout
    assert done.stderr.count("cannot be kept") == 1
    assert "free space there" in done.stderr
    place.answers()


# enough for the program, and not for the weights; enough for both, and not for the model's working memory
@pytest.mark.parametrize(
    ("room", "said"),
    [(1_100_000_000, "cannot be loaded as GGUF weights"), (2_000_000_000, "not enough memory to work with")],
)
def test_too_little_memory_for_the_model_is_said(place: Place, room: int, said: str) -> None:
    assert place.run("index").returncode == 0
    # on a machine of many cores the stacks of their threads would count too
    place.environment |= {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "ASSISTANT_THREADS": "2"}

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))

    place.environment["ASSISTANT_MODEL"] = "qwen2.5-coder-1.5b"
    line = one_line(place.run("ask", QUESTION, limit=limit))
    assert said in line
    place.environment["ASSISTANT_MODEL"] = "smollm2-135m"
    place.answers()


def test_a_server_that_is_killed_while_it_answers_starts_again(place: Place) -> None:
    port = free_port()
    place.environment["ASSISTANT_PORT"] = str(port)
    body = {"messages": [{"role": "user", "content": QUESTION}], "stream": True}
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=place.environment)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                wait_until_ready(client, process)
                with client.stream("POST", "/v1/chat/completions", json=body) as stream:
                    assert next(stream.iter_lines()).startswith("data: ")
                    time.sleep(0.3)  # in the middle of reading, when states are written
                    process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
            process.wait(10)
    place.answers()


def test_an_index_that_another_process_has_locked_is_said(place: Place) -> None:
    assert place.run("index").returncode == 0
    (place.knowledge / "more.md").write_text("# More\n\nMore bread.\n")
    with closing(sqlite3.connect(place.index / DATABASE, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert "Another process is building the index" in one_line(place.run("index"))
        # readers go on with what they have
        place.answers()
        database.execute("ROLLBACK")
    assert place.run("index").returncode == 0
