"""The running app and a browser for all tests of this folder, and a neighbour: somebody else's site."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.conftest import ROOT
from tests.servers import free_port, serving, wait_until_ready

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DEMO = Path(__file__).parent / "demo"
MINUTES = 60_000
NO_BROWSER = "NO BROWSER WAS FOUND: the page is not tested. Install Chromium (Debian: apt-get install chromium)."


class Neighbour:
    """A site on another host than the app's, which is listed by one of its names and not by the other."""

    def __init__(self, address: str) -> None:
        self.unlisted = address
        self.listed = address.replace("127.0.0.1", "localhost")
        self.page = ""


@pytest.fixture(scope="package")
def neighbour() -> Iterator[Neighbour]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_style = self.path == "/hostile.css"
            style = (DEMO / "hostile.css").read_text(encoding="utf-8")
            body = (style if is_style else found.page if self.path == "/" else "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/css" if is_style else "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the output of the tests clean."""

    with serving(Handler) as address:
        found = Neighbour(address)
        yield found


@pytest.fixture(scope="package", autouse=True)
def _browser_is_here() -> None:
    if CHROMIUM is None:
        if os.environ.get("GROUNDWORK_BROWSER") == "required":
            pytest.fail(NO_BROWSER)
        pytest.skip(NO_BROWSER)


@pytest.fixture(scope="package")
def site(
    weights_cache: Path, own_index: Path, neighbour: Neighbour, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, str]]:
    """The running app: its address, its cache folder, and what its page said while it was starting."""
    port = free_port()
    cache = tmp_path_factory.mktemp("browser-cache")
    shutil.copytree(weights_cache / "weights", cache / "weights", symlinks=True)
    # the page is to be seen while it indexes
    shutil.rmtree(own_index, ignore_errors=True)
    variables = {
        **os.environ,
        "ASSISTANT_PORT": str(port),
        "ASSISTANT_CACHE": str(cache),
        "ASSISTANT_INDEX": str(own_index),
        "ASSISTANT_SITES": neighbour.listed,
        "ASSISTANT_CONTACT": "library@example.org",
    }
    process = subprocess.Popen([sys.executable, str(ROOT / "app.py")], cwd=ROOT, env=variables)
    address = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            steps = wait_until_ready(client, process)
        yield address, cache, " ".join({step.split(":")[0] for step in steps})
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
