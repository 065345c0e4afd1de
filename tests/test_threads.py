"""How long threads wait busily: chosen before the libraries that read it are loaded, unless the user has chosen."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from assistant.llm.threads import SPINS, wait_briefly

PROGRAM = """
import os
from assistant.retrieval.embedder import SentenceEmbedder

SentenceEmbedder("all-MiniLM-L6-v2", 1).load()
print(os.environ["GOMP_SPINCOUNT"])
"""


def test_it_is_chosen_before_torch_is_loaded() -> None:
    # the library tells on standard error what it goes by
    environment = {name: os.environ[name] for name in os.environ.keys() - {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    environment |= {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout == f"{SPINS}\n", done.stderr
    if "GOMP_SPINCOUNT" in done.stderr:  # other systems have other libraries
        assert f"GOMP_SPINCOUNT = '{SPINS}'" in done.stderr


@pytest.mark.parametrize("chosen", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_who_has_chosen_is_left_alone(monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str]) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    wait_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == chosen.get("GOMP_SPINCOUNT")
