"""One frozen `Settings`, and the only reader of the environment.

Values come from the process environment, then from a `.env` file in the working folder, then from defaults. What a
variable accepts stands beside its field. This module does not know what the settings are used for, and creates no
folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints
from urllib.parse import urlsplit

import dotenv
import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from assistant.errors import SettingsError

GREETING = (
    "Ask about foundation models: what they are, what they can do, where they fail and where they are going. "
    "Every sentence of an answer opens the passage it rests on."
)
QUESTIONS = (
    "What makes an AI model a foundation model?",
    "Which vision models are popular, and what can they do?",
    "How does a model get from pre-training to a product?",
    "What are the biggest problems with large AI models?",
)
_ONE_LINE = r"^[^\x00-\x1f]*$"
_HOST = r"(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::\d+)?"


def _path(text: str) -> Path:
    # a name that is not UTF-8 is no text to pydantic, but a folder all the same
    if not re.fullmatch(_ONE_LINE, text):
        raise ValueError
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # there is no such user
        raise ValueError from error


def _origins(text: str) -> tuple[str, ...]:
    return tuple(map(_origin, text.replace(",", " ").split()))


def _origin(text: str) -> str:
    parts = urlsplit(text)
    parts.port  # noqa: B018 - a ValueError if it is none
    plain = not (parts.path.strip("/") or parts.query or parts.fragment)
    if parts.scheme not in {"http", "https"} or not plain or not re.fullmatch(_HOST, parts.netloc, re.I):
        raise ValueError
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _is_address(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _model(text: str) -> str:
    if _is_address(text) and not urlsplit(text).hostname:
        raise ValueError
    return text


def _questions(text: str) -> tuple[str, ...]:
    return tuple(question.strip() for question in text.split("|") if question.strip())


def _accepts(description: str, **limits: Any) -> Any:
    """A constraint, and how an error names it."""
    return Field(description=description, **limits)


_Line = Annotated[str, _accepts("one line of text", pattern=_ONE_LINE)]
_Folder = Annotated[Path, BeforeValidator(_path), _accepts("the path of a folder")]
_Limit = Annotated[int, _accepts("a whole number of questions, or 0 for no limit", ge=0, le=1_000_000)]
_Switch = Annotated[bool, _accepts("1 or 0")]


@dataclass(frozen=True, slots=True)
class Settings:
    """All that an owner can choose. Folders may be relative to the working folder."""

    knowledge: _Folder = Path("knowledge")
    index: _Folder = Path("index")
    model: Annotated[
        _Line,
        AfterValidator(_model),
        _accepts("a name that `python -m assistant weights` lists, a .gguf file, a hub id or an http(s) address"),
    ] = "qwen2.5-coder-1.5b"
    embedder: Annotated[_Line, _accepts("all-MiniLM-L6-v2, a folder or a hub id")] = "all-MiniLM-L6-v2"
    cache: _Folder = Path(platformdirs.user_cache_dir("groundwork", appauthor=False))
    host: Annotated[_Line, _accepts("an address of this machine, such as 127.0.0.1")] = "127.0.0.1"
    port: Annotated[int, _accepts("a whole number from 1 to 65535", ge=1, le=65535)] = 7860
    sites: Annotated[
        tuple[str, ...],
        BeforeValidator(_origins),
        _accepts("origins such as https://example.org, separated by spaces or commas"),
    ] = ()
    threads: Annotated[int, _accepts("a whole number from 1 to 1024", ge=1, le=1024)] = 0
    state_gb: Annotated[float, _accepts("a number of gigabytes from 0 to 1000, such as 4 or 0.5", ge=0, le=1000)] = 4.0
    title: _Line = "Groundwork"
    greeting: _Line = GREETING
    questions: Annotated[
        tuple[str, ...],
        BeforeValidator(_questions),
        BeforeValidator(TypeAdapter(_Line).validate_python),
        _accepts("questions separated by |"),
    ] = QUESTIONS
    contact: _Line = ""
    judge: Annotated[_Line, _accepts("a cross-encoder's folder or hub id")] = ""
    model_name: _Line = ""
    # it travels in a header
    model_key: Annotated[str, _accepts("one line of ASCII characters", pattern=r"^[\x20-\x7e]*$")] = field(
        default="", repr=False
    )
    api_key: _Line = field(default="", repr=False)
    keep_questions: _Switch = False
    proxies: Annotated[
        int, _accepts("how many proxies of yours stand in front, a whole number from 0 to 10", ge=0, le=10)
    ] = 0
    questions_a_minute: _Limit = 0
    questions_a_day: _Limit = 0
    questions_a_day_in_all: _Limit = 0
    auth: Annotated[
        str, _accepts("a name and a password, joined by a colon", pattern=r"^[^\x00-\x1f:]+:[^\x00-\x1f]+$")
    ] = field(default="", repr=False)
    metrics: _Switch = False
    log: _Switch = False
    on_spaces: bool = False
    on_zero_gpu: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, folder: Path = Path()) -> Settings:
        """Read every setting.

        Args:
            environment: instead of the process environment (and then no `.env` is read).
            folder: where `.env` is looked for.

        Raises:
            SettingsError: a value cannot be used; it names the variable, the value and what is accepted.
        """
        if environment is None:
            file = folder / ".env"
            try:
                written = dotenv.dotenv_values(file) if file.is_file() else {}
            except UnicodeDecodeError:
                raise SettingsError(f"{file} is not UTF-8: save it again as UTF-8.") from None
            environment = {**{name: value or "" for name, value in written.items()}, **os.environ}
        on_spaces = environment.get("SYSTEM") == "spaces"
        on_zero_gpu = environment.get("SPACES_ZERO_GPU", "").lower() in {"1", "t", "true"}
        values: dict[str, Any] = {"on_spaces": on_spaces, "on_zero_gpu": on_zero_gpu}
        if on_spaces:
            # the hub's proxy reaches the app from outside its container, and names who asks; everybody may
            values |= {"host": "0.0.0.0", "proxies": 1, "questions_a_minute": 10, "questions_a_day": 300, "log": True}
        for name, kind in KINDS.items():
            text = environment.get(variable(name), "").strip()
            if text:
                values[name] = _parsed(variable(name), text, kind)
        return cls(**values)

    def with_folders(self, knowledge: str | None, index: str | None) -> Settings:
        """The same settings with the folders that the command line named."""
        return replace(
            self,
            knowledge=Path(knowledge) if knowledge else self.knowledge,
            index=Path(index) if index else self.index,
        )

    @property
    def thread_count(self) -> int:
        """Threads for the model: what was set, or every core this process may use."""
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.threads or available

    @property
    def is_model_remote(self) -> bool:
        """Whether the model is behind an address."""
        return _is_address(self.model)

    @property
    def states(self) -> Path:
        """The folder of what the model has read."""
        return self.cache / "states"

    @property
    def state_bytes(self) -> int:
        """Bytes that it may take."""
        return int(self.state_gb * 1e9)

    @property
    def frame_ancestors(self) -> tuple[str, ...]:
        """The origins that may show the pages in a frame, for the Content-Security-Policy."""
        hub = ("https://huggingface.co", "https://*.hf.space") if self.on_spaces else ()
        return ("'self'", *self.sites, *hub)


KINDS = {name: kind for name, kind in get_type_hints(Settings, include_extras=True).items() if get_args(kind)[1:]}
"""What is accepted for each setting that an owner may choose."""


def variable(name: str) -> str:
    """The environment variable of a field: ``port`` → ``ASSISTANT_PORT``."""
    return f"ASSISTANT_{name.upper()}"


def _parsed(name: str, text: str, kind: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError:
        shown = "(hidden)" if name.endswith(("_KEY", "_AUTH")) else repr(text)
        accepted = get_args(kind)[-1].description
        raise SettingsError(f"{name} is {shown}, which cannot be used: set it to {accepted}, or unset it.") from None
