"""What the documentation offers for copying, run as it is written; only the address is that of the running app."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import MINUTES, Neighbour
from tests.conftest import ROOT

pytestmark = pytest.mark.browser


def blocks(page: str, kind: str) -> list[str]:
    """The code blocks of this kind in a page of the documentation."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def run(command: list[str], folder: Path, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("block", blocks("api.md", "python"))
def test_the_lines_for_python(block: str, site: tuple[str, Path, str], own_index: Path, tmp_path: Path) -> None:
    # the package itself looks for the index here, and for weights in the platform's cache folder
    (tmp_path / "index").symlink_to(own_index)
    (tmp_path / "groundwork").symlink_to(site[1])
    code = block.replace("http://localhost:7860", site[0])
    said = run([sys.executable, "-c", code], tmp_path, XDG_CACHE_HOME=str(tmp_path))
    assert "[1]" in said
    assert "transfer" in said.lower()
    assert len([line for line in block.splitlines() if line]) <= 5


def test_the_official_client_of_gradio(site: tuple[str, Path, str], tmp_path: Path) -> None:
    code = (
        "import json, sys; from gradio_client import Client; "
        "print(json.dumps(Client(sys.argv[1], verbose=False).predict('What is transfer learning?', api_name='/chat')))"
    )
    answer, sources = json.loads(run([sys.executable, "-c", code, site[0]], tmp_path).splitlines()[-1])
    assert "[[1]](documents/" in answer
    assert "<mark>" in sources


@pytest.mark.parametrize("block", blocks("api.md", "sh"))
def test_the_lines_for_a_shell(block: str, site: tuple[str, Path, str], tmp_path: Path) -> None:
    said = json.loads(run(["sh", "-c", block.replace("localhost:7860", site[0].removeprefix("http://"))], tmp_path))
    assert said["choices"][0]["message"]["citations"]


def test_the_readme_shows_the_same_lines() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"```(python|html)\n(.*?)```", readme, re.DOTALL)
    assert [kind for kind, _ in shown] == ["python", "html"]
    assert all(block in blocks({"python": "api.md", "html": "embedding.md"}[kind], kind) for kind, block in shown)


@pytest.mark.parametrize("block", blocks("embedding.md", "html"))
def test_the_lines_for_a_page(block: str, site: tuple[str, Path, str], neighbour: Neighbour, browser: Browser) -> None:
    body = block.replace("https://your-assistant.example", site[0])
    neighbour.page = f"<!doctype html><html lang='en'><title>A</title><body>{body}</body></html>"
    page = browser.new_page()
    page.goto(neighbour.listed)
    if "<script" in block and "<groundwork-chat" not in block:
        page.get_by_role("button", name="Ask the documents").click()
    expect(page.frame_locator("iframe").get_by_label("Question")).to_be_visible(timeout=MINUTES)
    page.close()
