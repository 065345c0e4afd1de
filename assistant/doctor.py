"""What works on this machine, and what to do about what does not."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import math
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from assistant.errors import AssistantError
from assistant.ingestion.loaders import read_folder
from assistant.llm.kv_cache import StateStore
from assistant.llm.openai_client import RemoteModel
from assistant.llm.weights import TABLE
from assistant.retrieval.embedder import PACKAGED
from assistant.retrieval.store import KnowledgeIndex
from assistant.schemas import Document
from assistant.settings import Settings

CHARACTERS_A_TOKEN = 4.6
"""Of English text, as measured on `knowledge/` with the default model."""
STATE_BYTES_A_TOKEN = 28_700
"""Of the default model."""
DEFAULT_MODEL = Settings().model


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``remedy`` is empty when nothing is to be done."""

    name: str
    works: bool
    detail: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that an answer needs. Nothing is changed, fetched or loaded; a model's server is asked."""
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _python,
        _sqlite,
        _knowledge,
        _index,
        _embedder,
        _model,
        _states,
        _disk,
        *([_space] if settings.on_spaces else []),
        _widget,
    )
    return [check(settings) for check in checks]


def _python(_: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    works = sys.version_info >= (3, 11)
    return Finding("python", works, version, "" if works else "Install Python 3.11 or later.")


def _sqlite(_: Settings) -> Finding:
    with sqlite3.connect(":memory:") as database:
        works = bool(database.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()[0])
    remedy = "" if works else "Use a Python whose SQLite has FTS5, such as the one from python.org."
    return Finding("sqlite", works, f"{sqlite3.sqlite_version} {'with' if works else 'without'} FTS5", remedy)


def _knowledge(settings: Settings) -> Finding:
    try:
        items = list(read_folder(settings.knowledge))
    except AssistantError as error:
        return Finding("knowledge", False, str(settings.knowledge), str(error))
    documents = sum(isinstance(item, Document) for item in items)
    skipped = len(items) - documents
    remedy = "Run `python -m assistant index` to see what was skipped and why." if skipped else ""
    return Finding("knowledge", documents > 0, f"{documents} documents, {skipped} skipped", remedy)


def _index(settings: Settings) -> Finding:
    try:
        with KnowledgeIndex(settings.index, settings.embedder).snapshot() as snapshot:
            documents, chunks = snapshot.counts()
    except AssistantError as error:
        return Finding("index", False, str(settings.index), str(error))
    return Finding("index", True, f"{documents} documents, {chunks} passages")


def _embedder(settings: Settings) -> Finding:
    package = PACKAGED.get(settings.embedder, ("",))[0]
    if not package:
        return Finding("embedder", True, f"{settings.embedder}: loaded from a folder or the hub when it is needed")
    works = importlib.util.find_spec(package) is not None
    remedy = "" if works else "Run `pip install -r requirements.txt`."
    return Finding("embedder", works, f"{settings.embedder} from the package {package}", remedy)


def _model(settings: Settings) -> Finding:
    if settings.is_model_remote:
        return _remote_model(settings)
    weights = TABLE.get(settings.model)
    if not weights:
        return Finding("model", True, f"{settings.model}: loaded when it is needed")
    if importlib.util.find_spec("cyllama") is None:
        return Finding("model", False, "the package cyllama is missing", "Run `pip install -r requirements.txt`.")
    path = settings.cache / "weights" / weights.file
    if path.exists():
        return Finding("model", True, f"{settings.model} in {path}")
    size = f"{weights.size / 1e9:.1f} GB"
    return Finding("model", False, f"{settings.model} is not here yet", f"Run `python -m assistant weights` ({size}).")


def _remote_model(settings: Settings) -> Finding:
    try:
        names = RemoteModel(settings.model, settings.model_name or "?", settings.model_key).names()
    except AssistantError as error:
        return Finding("model", False, settings.model, str(error))
    if settings.model_name not in {"", *names}:
        known = ", ".join(names)
        return Finding("model", False, f"{settings.model} has {known}", "Set ASSISTANT_MODEL_NAME to one of them.")
    return Finding("model", True, f"{settings.model_name or names[0]} at {settings.model}: passages are sent there")


def _states(settings: Settings) -> Finding:
    """How many passages the room for what the model has read covers."""
    if settings.state_bytes == 0:
        return Finding("states", True, "what the model reads is not kept (ASSISTANT_STATE_GB is 0)")
    try:
        with KnowledgeIndex(settings.index, settings.embedder).snapshot() as snapshot:
            characters = [len(chunk.embedding_text) for chunk in snapshot.all_chunks()]
    except AssistantError:
        return Finding("states", True, f"room for {settings.state_gb:g} GB of what the model reads")
    needed = sum(characters) / CHARACTERS_A_TOKEN * STATE_BYTES_A_TOKEN
    covered = min(1.0, settings.state_bytes / max(1.0, needed))
    used = StateStore(settings.states, settings.state_bytes).used() / 1e9
    remedy = "" if covered == 1.0 else f"Set ASSISTANT_STATE_GB to {math.ceil(needed / 1e9)} to keep every passage."
    detail = (
        f"{used:.1f} of {settings.state_gb:g} GB used; the room covers about {covered:.0%} of "
        f"{len(characters):,} passages with {DEFAULT_MODEL}"
    )
    return Finding("states", True, detail, remedy)


def _disk(settings: Settings) -> Finding:
    folder = settings.cache
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    weights = TABLE.get(settings.model)
    missing = weights and not Path(settings.cache, "weights", weights.file).exists()
    needed = weights.size * 2.1 / 1e9 if weights and missing else 0.1
    remedy = "" if free >= needed else f"Free {needed:.1f} GB, or choose another folder with ASSISTANT_CACHE."
    return Finding("disk", free >= needed, f"{free:.0f} GB free for {settings.cache}", remedy)


def _space(settings: Settings) -> Finding:
    """Which hardware the Space has, and what that kind needs."""
    if not settings.on_zero_gpu:
        return Finding("space", True, "on a CPU; the disk is lost at each restart, and filled again by itself")
    torch = tuple(map(int, version("torch").split(".")[:2]))
    detail = f"on ZeroGPU, with torch {version('torch')}"
    if importlib.util.find_spec("spaces") is None:
        return Finding("space", False, f"{detail}, without the package spaces", "Add spaces to requirements.txt.")
    works = (2, 8) <= torch <= (2, 11)
    return Finding("space", works, detail, "" if works else "Pin torch>=2.8,<2.12 in requirements.txt.")


def _widget(_: Settings) -> Finding:
    """The line that puts the bubble on a page, and lets a browser run exactly this version of it and no other."""
    served = files("assistant.web").joinpath("widget.js").read_text(encoding="utf-8").encode()
    digest = hashlib.sha384(served).digest()
    integrity = base64.b64encode(digest).decode()
    source = f"https://YOUR-HOST/widget.js?v={digest.hex()[:8]}"
    return Finding("widget", True, f'<script src="{source}" integrity="sha384-{integrity}" crossorigin defer></script>')
