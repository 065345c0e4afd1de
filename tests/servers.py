"""Servers on loopback: a model hub that can be cut off, a Python package index, and the app as a process."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest


class Hub:
    """Serves one file; ``cut_after`` bytes it drops the connection once."""

    def __init__(self, content: bytes, cut_after: int | None = None) -> None:
        self.content = content
        self.cut_after = cut_after
        self.ranges: list[str | None] = []


class Answering(BaseHTTPRequestHandler):
    """What handlers of requests share: an answer of known length, and no log."""

    def answer(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        """Send this body, whole."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def hub_server(hub: Hub) -> Iterator[str]:
    """The hub's two addresses that are used: the repository, and the file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/api/models/"):
                self._send(200, b"{}")
                return
            wanted = self.headers.get("Range")
            hub.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            self._send(206 if wanted else 200, hub.content[start:])

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if hub.cut_after is not None and len(body) > hub.cut_after:
                self.wfile.write(body[: hub.cut_after])
                hub.cut_after = None
                return
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield address


def make_wheel(folder: Path, requirement: str, member: str, content: bytes) -> Path:
    """A data-only wheel, as small as pip accepts it."""
    name, version = requirement.split("==")
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path


@contextmanager
def index_server(folder: Path, missing: set[str] | None = None) -> Iterator[str]:
    """A package index of the wheels in ``folder``; names in ``missing`` are not found."""

    class Handler(Answering):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            if parts[0] == "files":
                self.answer(200, (folder / parts[1]).read_bytes())
                return
            project = parts[1] if len(parts) > 1 else ""
            wheels = [p for p in folder.glob("*.whl") if p.name.split("-")[0].replace("_", "-") == project]
            if not wheels or project in (missing or set()):
                self.send_error(404)
                return
            links = (
                f'<a href="/files/{p.name}#sha256={hashlib.sha256(p.read_bytes()).hexdigest()}">{p.name}</a>'
                for p in wheels
            )
            self.answer(200, f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode(), "text/html")

    with serving(Handler) as address:
        yield f"{address}/simple/"


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[Any], or_at: str = "ready") -> list[str]:
    """Wait until a server that was just started can be asked, or says that it is at a step which begins so.

    Returns what it said that it was doing until then.
    """
    steps: list[str] = []
    said = "it was not asked"
    deadline = time.monotonic() + 420  # our own documents are indexed in minutes
    while time.monotonic() < deadline and process.poll() is None:
        try:
            health = client.get("/healthz")
            if health.status_code == 200:
                return steps
            said = health.text
            steps.append(health.json()["step"])
            if steps[-1].startswith(or_at):
                return steps
        except httpx.TransportError as error:
            said = repr(error)  # it does not listen yet
        time.sleep(0.2)
    pytest.fail(f"The server did not become {or_at}: {said}")
