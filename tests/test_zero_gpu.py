"""A ZeroGPU Space, imitated: the hub's own package `spaces`, and the service that lends GPUs as a server on loopback.

What the package really does is done: a process is forked, and arguments and tokens are pickled. Where this machine has
a GPU, that one is lent, and the forked process moves the model to it. Where it has none, only the steps that need one
are left out, and the model runs on the CPU of the forked process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from assistant.doctor import examine
from assistant.errors import ModelError
from assistant.llm import zero_gpu
from assistant.settings import Settings
from tests.conftest import ROOT
from tests.fakes import make_transformer
from tests.servers import Answering, free_port, serving, wait_until_ready

LAUNCHER = """
import runpy
import sys
import torch
if torch.version.cuda is None:  # in a build without CUDA, three things are missing that the package reads
    torch.version.cuda, torch._C._cuda_init, torch.cuda._is_in_bad_fork = "12.8", None, bool
import spaces.zero.torch as lent

if sys.argv[1] == "none":
    lent.init = lambda uuid: torch.set_num_threads(1)
    lent.move = lambda callback=None: None
runpy.run_path("app.py", run_name="__main__")
"""
QUESTION = {"messages": [{"role": "user", "content": "How long does bread bake?"}]}


def lent_gpu() -> str:
    """The identifier of this machine's first GPU, or "none"."""
    if not shutil.which("nvidia-smi"):
        return "none"
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return (listed.stdout.split() or ["none"])[0]


class Lender:
    """The service that lends GPUs: what it was asked for, and whether it has one."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.has_one = True
        self.gpu = lent_gpu()

    def times(self, name: str) -> int:
        return sum(asked == name for asked, _ in self.asked)


@contextmanager
def lending(lender: Lender) -> Iterator[str]:
    class Handler(Answering):
        def do_POST(self) -> None:
            path = urlsplit(self.path)
            lender.asked.append((path.path, parse_qs(path.query)))
            if path.path == "/schedule" and not lender.has_one:
                self.answer(429, b'{"left": 3, "wait": "01:00:00"}', "application/json")
                return
            one = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": lender.gpu, "allowToken": "a-token"}
            self.answer(200, json.dumps(one).encode(), "application/json")

    with serving(Handler) as address:
        yield address


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
def space(lender: Lender, knowledge: Path, tmp_path: Path) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    make_transformer(tmp_path / "model", positions=8192)
    port = free_port()
    with lending(lender) as address:
        environment = {
            "PATH": os.environ["PATH"],
            "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),  # where a GPU's driver may lie
            "CUDA_VISIBLE_DEVICES": "",  # what serves sees no GPU there
            "HOME": str(tmp_path),
            "SYSTEM": "spaces",
            "SPACE_ID": "owner/groundwork",
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": address,
            "HF_HUB_OFFLINE": "1",
            "ASSISTANT_MODEL": str(tmp_path / "model"),
            "ASSISTANT_KNOWLEDGE": str(knowledge),
            "ASSISTANT_INDEX": str(tmp_path / "index"),
            "ASSISTANT_PORT": str(port),
        }
        command = [sys.executable, "-c", LAUNCHER, lender.gpu]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield client, process
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the forked process too, which would wait for ever
            process.wait(10)


@pytest.mark.soak
def test_answers_are_written_on_a_gpu_that_is_borrowed_for_each(
    space: tuple[httpx.Client, subprocess.Popen[bytes]], lender: Lender
) -> None:
    client, process = space
    wait_until_ready(client, process)
    assert lender.asked[0][0] == "/startup-report", "or the hub refuses to start the Space"
    assert lender.times("/schedule") == 0, "while nobody asks, no GPU is wanted"
    for _ in range(2):
        answer = client.post("/v1/chat/completions", json=QUESTION)
        assert answer.status_code == 200, answer.text
        # what it writes, who was never trained, is of no use
        assert answer.json()["usage"]["completion_tokens"] > 0
    assert lender.times("/schedule") == lender.times("/release") == 2
    (pid,) = {parameters["pid"][0] for name, parameters in lender.asked if name == "/allow"}
    assert pid != str(process.pid), "the process that serves never has a GPU"
    failed = [parameters["fail"] for name, parameters in lender.asked if name == "/release"]
    assert failed == [["false"]] * 2


@pytest.mark.soak
def test_where_there_is_no_gpu_left_it_is_said_what_to_do(
    space: tuple[httpx.Client, subprocess.Popen[bytes]], lender: Lender
) -> None:
    client, process = space
    wait_until_ready(client, process)
    lender.has_one = False
    answer = client.post("/v1/chat/completions", json=QUESTION)
    assert answer.status_code == 500
    assert "GPU limit" in answer.json()["error"]["message"]
    assert "ask again" in answer.json()["error"]["message"]
    lender.has_one = True
    assert client.post("/v1/chat/completions", json=QUESTION).status_code == 200


def test_without_the_package_the_space_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)
    zero_gpu._borrowed.cache_clear()
    with pytest.raises(ModelError, match=r"requirements\.txt"):
        zero_gpu.announce()


@pytest.mark.parametrize(
    ("torch", "works"), [("2.7.1", False), ("2.8.0", True), ("2.11.0+cu128", True), ("2.13.0", False)]
)
def test_doctor_knows_which_torch_a_zero_gpu_space_can_use(
    torch: str, works: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.doctor.version", lambda _: torch)
    found = {finding.name: finding for finding in examine(replace(settings, on_spaces=True, on_zero_gpu=True))}
    assert found["space"].works is works
    assert ("Pin torch" in found["space"].remedy) is not works
    assert "space" not in {finding.name for finding in examine(settings)}
