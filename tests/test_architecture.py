"""The shape of the code: who may import whom, what an import costs, how long things are, who reads the environment."""

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

LAYERS: tuple[tuple[str, ...], ...] = (
    ("app",),
    ("assistant.__main__",),
    ("assistant.web",),
    ("assistant.startup", "assistant.doctor"),
    ("assistant.prefill",),
    ("assistant.pipeline",),
    ("assistant.quoting", "assistant.wording"),
    # the package itself: its public names; it imports `Assistant` when it is asked for
    (
        "assistant.choosing",
        "assistant.conversation",
        "assistant.prompts",
        "assistant.grounding",
        "assistant.llm",
        "assistant.opening",
        "assistant.ingestion.builder",
    ),
    ("assistant.retrieval",),
    ("assistant.retrieval.store", "assistant.retrieval.embedder"),
    ("assistant.ingestion.chunker", "assistant.claims", "assistant.orders", "assistant.suggestions"),
    ("assistant.ingestion.loaders", "assistant.intents", "assistant.pointing", "assistant.ingestion.sentences"),
    ("assistant.serialisation", "assistant.feedback", "assistant.llm.hub", "assistant.words"),
    ("assistant.settings",),
    ("assistant.progress",),
    ("assistant.errors", "assistant.llm.memory", "assistant.llm.threads", "assistant.schemas"),
)
"""A module imports from layers below its own. Within a package of one layer, `INSIDE` has the order."""

INSIDE = {
    "assistant.llm": (
        "engines",
        "llama remote torch_model weights",
        "batching",
        "growing sequences states template zero_gpu",
    ),
    "assistant.web": ("server", "mcp", "api chat", "embed", "guard routes", "line limits rendering", "monitor"),
}

HEAVY = ("torch", "transformers", "gradio", "faiss", "sentence_transformers")

ENVIRONMENT = {
    "assistant.settings": {"os.environ": "all settings are read here"},
    "assistant.retrieval.embedder": {"TOKENIZERS_PARALLELISM": "written, for a library that is configured by it"},
    "assistant.llm.threads": {
        "GOMP_SPINCOUNT": "written, for libraries that are configured by it",
        "OMP_WAIT_POLICY": "theirs too; who has set it has chosen",
    },
    "assistant.web.server": {
        "GRADIO_ANALYTICS_ENABLED": "written, for a library that is configured by it",
        "FORWARDED_ALLOW_IPS": "written, for a library that is configured by it",
    },
    "assistant.web.guard": {"SPACE_HOST": "set by the hub on a Space; nobody chooses it"},
    "assistant.llm.hub": {
        "HF_ENDPOINT": "the hub client's own variable, which an owner has set for it",
        "HF_HUB_OFFLINE": "the hub client's own variable, which an owner has set for it",
    },
    "assistant.llm.weights": {"os.environ": "handed on whole to a child process"},
}
"""Module → what it reads or writes (the whole is ``os.environ``) → why it may."""

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60


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


def layer(name: str) -> tuple[int, int]:
    """Where a module stands: the layer, and the place inside its package. Larger is lower."""
    for level, members in enumerate(LAYERS):
        for member in members:
            if name == member:
                return level, -1
            if name.startswith(f"{member}."):
                last = name.removeprefix(f"{member}.")
                (place,) = (n for n, some in enumerate(INSIDE[member]) if last in some.split())
                return level, place
    raise AssertionError(f"{name} is in no layer: add it to LAYERS where it belongs")


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - {"assistant"}))
def test_imports_run_downward(name: str) -> None:
    for imported in imports(name):
        assert layer(imported) > layer(name), f"{name} imports {imported}, which is not below it"


def test_the_package_itself_imports_only_the_lowest_layers_until_an_assistant_is_asked_for() -> None:
    eager = {name for name in imports("assistant", lazy=False) if name != "assistant"}
    assert eager == {"assistant.errors", "assistant.settings", "assistant.schemas"}
    assert imports("assistant") - eager == {"assistant.pipeline"}


def test_nothing_inside_imports_the_package_itself() -> None:
    assert not [name for name in SOURCES if "assistant" in imports(name)]


def test_there_is_no_cycle() -> None:
    graph = {name: imports(name) for name in SOURCES if name != "assistant"}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_every_layer_names_modules_that_exist() -> None:
    named = {member for members in LAYERS for member in members}
    inside = {f"{package}.{last}" for package, rows in INSIDE.items() for row in rows for last in row.split()}
    assert named | inside <= SOURCES.keys()


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


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_module_and_no_function_is_long(name: str) -> None:
    assert len(SOURCES[name].read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{name}.{node.name} is long"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_error_is_swallowed(name: str) -> None:
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type, f"{name}:{node.lineno}: a bare except"
            silent = all(
                isinstance(step, ast.Pass) or (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))
                for step in node.body
            )
            assert not silent, f"{name}:{node.lineno}: an error is swallowed"


def environment_uses(tree: ast.AST) -> Iterator[str]:
    """The variables that are named where ``os.environ`` is used, or ``os.environ`` where none is named."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"}:
            around = parents[node]
            if isinstance(around, ast.Attribute):  # os.environ.get("NAME")
                around = parents[around]
            constants = [child.value for child in ast.iter_child_nodes(around) if isinstance(child, ast.Constant)]
            named = constants if isinstance(around, ast.Call | ast.Subscript | ast.Compare) else []
            yield str(named[0]) if named else "os.environ"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_environment_is_read_in_one_place(name: str) -> None:
    assert set(environment_uses(TREES[name])) == set(ENVIRONMENT.get(name, {}))
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert not {alias.name for alias in node.names} & {"environ", "environb", "getenv", "putenv"}


def test_the_environment_is_seen_in_all_the_ways_of_reading_it() -> None:
    code = "import os\nos.environ['A']\nos.environ.get('B', '')\nos.getenv('C')\nx = {**os.environ}\n'D' in os.environ"
    assert sorted(environment_uses(ast.parse(code))) == ["A", "B", "C", "D", "os.environ"]
