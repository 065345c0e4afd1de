"""What an import costs, and which names are public. Who may import whom: see import-linter in pyproject.toml."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

import assistant
from tests.conftest import ROOT

HEAVY = ("torch", "transformers", "gradio", "faiss", "sentence_transformers")


@pytest.mark.parametrize(
    "code",
    [
        "import assistant",
        "import assistant; assistant.Assistant",
        "import runpy; sys.argv = ['assistant', '--help']; runpy.run_module('assistant', run_name='__main__')",
        "import runpy; sys.argv = ['assistant', 'index', '--help']; runpy.run_module('assistant', run_name='__main__')",
    ],
)
def test_a_light_start_imports_nothing_heavy(code: str) -> None:
    at_end = f"atexit.register(lambda: print('heavy:', *sorted({set(HEAVY)!r} & set(sys.modules))))"
    program = f"import atexit, sys\n{at_end}\n{code}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy:"


def test_the_heavy_packages_are_there_to_be_imported() -> None:
    """Or else the test above would say nothing."""
    assert all(importlib.util.find_spec(name) for name in HEAVY)


def test_every_public_name_can_be_imported_and_is_listed_once() -> None:
    assert len(set(assistant.__all__)) == len(assistant.__all__)
    for name in assistant.__all__:
        assert isinstance(getattr(assistant, name), type), name
    classes = {name: value for name, value in vars(assistant).items() if isinstance(value, type)}
    public = {name for name, value in classes.items() if value.__module__.startswith("assistant.")}
    assert public | {"Assistant"} == set(assistant.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        assistant.Nonsense  # noqa: B018
