"""A Space, imitated: what git would push, started by `app.py` alone, in the environment that the hub gives it.

Nothing of this machine's home is there, and the hub is one on loopback. Runs with `make soak`: it indexes all of
`knowledge/`. What cannot be imitated is the hub's own build and its GPUs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from assistant.llm.weights import TABLE
from tests.conftest import ROOT
from tests.servers import Hub, free_port, hub_server, wait_until_ready

pytestmark = pytest.mark.soak

MODEL = TABLE["smollm2-135m"]
HOST = "owner-groundwork.hf.space"
QUESTION = {"messages": [{"role": "user", "content": "What is a foundation model?"}]}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, and no other."""
    folder = tmp_path_factory.mktemp("space")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "evaluation/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@contextmanager
def space(folder: Path, home: Path, hub: str) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "SYSTEM": "spaces",
        "SPACE_ID": "owner/groundwork",
        "SPACE_HOST": HOST,
        "HF_ENDPOINT": hub,
        "PIP_NO_INDEX": "1",
        "ASSISTANT_MODEL": MODEL.name,
        "ASSISTANT_PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Host": HOST}, timeout=120) as client:
            yield client, process
    finally:
        process.kill()
        process.wait(10)


def home_with_preloaded_weights(folder: Path, weights: Path) -> Path:
    """A home as the hub leaves it behind when the Space's front matter asks for files beforehand."""
    repository = folder / ".cache/huggingface/hub" / f"models--{MODEL.repository.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("0" * 40) / MODEL.file).symlink_to(weights)
    return folder


def test_it_starts_by_itself_and_answers_in_the_hubs_frame(pushed: Path, weights_cache: Path, tmp_path: Path) -> None:
    hub = Hub((weights_cache / "weights" / MODEL.file).read_bytes())
    with hub_server(hub) as address, space(pushed, tmp_path, address) as (client, process):
        steps = wait_until_ready(client, process, "Indexing")
        assert steps[-1].startswith("Indexing")
        # the page is there before the answers are, and stands in the hub's frame
        page = client.get("/")
        assert page.status_code == 200
        assert "https://huggingface.co" in page.headers["content-security-policy"]
        assert all(steps), "it says at every moment what it is doing"
        wait_until_ready(client, process)
        assert len(hub.ranges) == 1
        answer = client.post("/v1/chat/completions", json=QUESTION, headers={"Origin": f"https://{HOST}"})
        assert answer.status_code == 200
        assert answer.json()["citations"]
        assert client.get("/metrics").status_code == 404  # a Space is public
    assert (tmp_path / ".cache").is_dir()


def test_weights_that_the_hub_has_put_there_are_not_fetched(pushed: Path, weights_cache: Path, tmp_path: Path) -> None:
    home = home_with_preloaded_weights(tmp_path, weights_cache / "weights" / MODEL.file)
    hub = Hub(b"")
    with hub_server(hub) as address, space(pushed, home, address) as (client, process):
        wait_until_ready(client, process)
    assert not hub.ranges


def test_the_front_matter_names_what_is_fetched_beforehand(pushed: Path) -> None:
    head = yaml.safe_load((pushed / "README.md").read_text(encoding="utf-8").split("---")[1])
    default = TABLE["qwen2.5-coder-1.5b"]
    assert head["preload_from_hub"] == [f"{default.repository} {default.file}"]
    assert (pushed / head["app_file"]).is_file()
    assert len(head["short_description"]) <= 60
