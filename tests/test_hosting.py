"""The Dockerfile, by the commands that it runs; there is no container here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers import serving

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def lines(instruction: str) -> list[str]:
    return re.findall(rf"^\s*{instruction} (.+)$", DOCKERFILE, re.MULTILINE)


def test_what_is_copied_is_enough_and_the_settings_are_accepted(tmp_path: Path) -> None:
    for line in lines("COPY"):
        *sources, target = line.split()
        for source in sources:
            place = tmp_path / target / source if target.endswith("/") or target == "." else tmp_path / target
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    settings = dict(pair.split("=") for line in lines("ENV") for pair in line.split())
    settings = {name: value.replace("/data", str(tmp_path)) for name, value in settings.items()}
    command = [sys.executable, "-m", "assistant", "doctor", "--json"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **settings}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    found = {row["name"]: row for row in json.loads(done.stdout.splitlines()[-1])["findings"]}
    assert found["knowledge"]["works"]
    assert found["index"]["detail"].startswith(str(tmp_path / "index"))
    assert lines("CMD")[-1] == '["python", "app.py"]'
    assert (tmp_path / "app.py").is_file()


def test_it_does_not_run_as_root() -> None:
    assert lines("USER") == ["reader"]
    assert DOCKERFILE.index("USER reader") < DOCKERFILE.index("\nCMD")


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_its_health_check_follows_the_health_route(status: int, code: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    (check,) = re.findall(r"HEALTHCHECK .*?CMD (\[.*\])", DOCKERFILE)
    with serving(Handler) as address:
        command = [sys.executable, *json.loads(check.replace("http://127.0.0.1:7860", address))[1:]]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code
