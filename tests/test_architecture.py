"""The shape of the code: who may import whom, what an import costs, who touches the environment."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import assistant
from tests.conftest import ROOT

LAYERS = (
    "app",
    "web __main__",
    "startup doctor",
    "prefill expand",
    "pipeline",
    "query",
    "prompts suggestions",
    "ingestion.builder",
    "retrieval llm",
    "ingestion",
    "serialisation feedback progress",
    "settings",
    "schemas",
    "errors words",
)
"""A module imports from its own layer or below; the lower, the less it knows. The longest name counts."""

HEAVY = ("torch", "transformers", "gradio", "faiss", "sentence_transformers")

ENVIRONMENT = {
    "assistant.settings",
    # written, for libraries that are configured by it
    "assistant.retrieval.embedder",
    "assistant.llm.threads",
    "assistant.web.server",
    # the hub's own variables, and those of a Space
    "assistant.llm.hub",
    "assistant.web.guard",
    # handed on whole to a child process
    "assistant.llm.weights",
}
"""Who touches the process environment."""


def sources() -> dict[str, Path]:
    """Module name → file, of the package and of app.py."""
    found = {"app": ROOT / "app.py"}
    for path in sorted((ROOT / "assistant").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


SOURCES = sources()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imports(name: str, lazy: bool = True) -> set[str]:
    """The modules of ours that a module imports, those inside of functions too if ``lazy``."""
    found: set[str] = set()
    for node in ast.walk(TREES[name]) if lazy else eager_nodes(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            assert node.module
            # `from assistant import hub` imports a module; `from assistant.llm.hub import address` imports from one
            modules = {f"{node.module}.{alias.name}" for alias in node.names} & SOURCES.keys()
            found |= modules or {node.module}
    return found & SOURCES.keys()


def eager_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """What runs at import: nothing inside functions or ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from eager_nodes(node)


def layer(name: str) -> int:
    """Where a module stands; larger is lower."""
    places = {member: level for level, members in enumerate(LAYERS) for member in members.split()}
    short = name.removeprefix("assistant.")
    while short not in places:
        short, dot, _ = short.rpartition(".")
        assert dot, f"{name} is in no layer: add it to LAYERS where it belongs"
    return places[short]


def test_imports_run_downward() -> None:
    upward = [
        f"{name} imports {imported}"
        for name in SOURCES.keys() - {"assistant"}
        for imported in imports(name)
        if layer(imported) < layer(name)
    ]
    assert upward == []


def test_every_layer_names_modules_that_exist() -> None:
    named = {"app" if member == "app" else f"assistant.{member}" for members in LAYERS for member in members.split()}
    assert named <= SOURCES.keys()


def test_the_package_itself_imports_only_the_lowest_layers_until_an_assistant_is_asked_for() -> None:
    eager = {name for name in imports("assistant", lazy=False) if name != "assistant"}
    assert eager == {"assistant.errors", "assistant.settings", "assistant.schemas"}
    assert imports("assistant") - eager == {"assistant.pipeline"}


def test_nothing_inside_imports_the_package_itself() -> None:
    assert not [name for name in SOURCES if "assistant" in imports(name)]


def test_there_is_no_cycle() -> None:
    graph = {name: imports(name) for name in SOURCES if name != "assistant"}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


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


def test_no_error_is_swallowed() -> None:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                assert node.type, f"{name}:{node.lineno}: a bare except"
                assert not all(isinstance(step, ast.Pass) for step in node.body), f"{name}:{node.lineno}: swallowed"


def test_the_environment_is_touched_by_few() -> None:
    touching = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"}
    }
    assert touching == ENVIRONMENT
