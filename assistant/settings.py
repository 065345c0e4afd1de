"""One frozen `Settings`, and the only reader of the environment.

Values come from the process environment, then from a `.env` file in the working folder, then from defaults. A
value that cannot be used is a `SettingsError` that names the variable, the value and what is accepted. This
module does not know what the settings are used for, and creates no folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dotenv
import platformdirs

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


@dataclass(frozen=True, slots=True)
class Settings:
    """All that an owner can choose. Folders may be relative to the working folder."""

    knowledge: Path = Path("knowledge")
    index: Path = Path("index")
    model: str = "qwen2.5-coder-1.5b"
    embedder: str = "all-MiniLM-L6-v2"
    cache: Path = Path(platformdirs.user_cache_dir("groundwork", appauthor=False))
    host: str = "127.0.0.1"
    port: int = 7860
    sites: tuple[str, ...] = ()
    threads: int = 0
    state_gb: float = 4.0
    title: str = "Groundwork"
    greeting: str = GREETING
    questions: tuple[str, ...] = QUESTIONS
    contact: str = ""
    judge: str = ""
    model_name: str = ""
    model_key: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    keep_questions: bool = False
    proxies: int = 0
    questions_a_minute: int = 0
    questions_a_day: int = 0
    questions_a_day_in_all: int = 0
    auth: str = field(default="", repr=False)
    metrics: bool = False
    log: bool = False
    on_spaces: bool = False
    on_zero_gpu: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, folder: Path = Path()) -> Settings:
        """Read every setting.

        Args:
            environment: instead of the process environment (and then no `.env` is read).
            folder: where `.env` is looked for.

        Raises:
            SettingsError: a value cannot be used.
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
        for name, parse in PARSERS.items():
            text = environment.get(variable(name), "").strip()
            if text:
                values[name] = _parsed(variable(name), text, parse)
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


def variable(name: str) -> str:
    """The environment variable of a field: ``port`` → ``ASSISTANT_PORT``."""
    return f"ASSISTANT_{name.upper()}"


def _parsed(name: str, text: str, parse: tuple[Callable[[str], Any], str]) -> Any:
    function, accepted = parse
    try:
        return function(text)
    except ValueError:
        shown = "(hidden)" if name.endswith(("_KEY", "_AUTH")) else repr(text)
        raise SettingsError(f"{name} is {shown}, which cannot be used: set it to {accepted}, or unset it.") from None


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return parse


def _gigabytes(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1000:
        raise ValueError
    return value


def _boolean(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError
    return words[text.lower()]


def _sites(text: str) -> tuple[str, ...]:
    return tuple(_origin(word) for word in text.replace(",", " ").split())


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
    return _line(text)


def _line(text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise ValueError
    return text


def _login(text: str) -> str:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise ValueError
    return _line(text)


def _ascii(text: str) -> str:
    if not text.isascii():  # it travels in a header
        raise ValueError
    return _line(text)


def _questions(text: str) -> tuple[str, ...]:
    return tuple(question.strip() for question in _line(text).split("|") if question.strip())


def _path(text: str) -> Path:
    try:
        return Path(_line(text)).expanduser()
    except RuntimeError as error:  # there is no such user
        raise ValueError from error


_HOST = r"(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::\d+)?"
_ONE_LINE = "one line of text"
_FOLDER = "the path of a folder"
_LIMIT = "a whole number of questions, or 0 for no limit"
PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "knowledge": (_path, _FOLDER),
    "index": (_path, _FOLDER),
    "model": (_model, "a name that `python -m assistant weights` lists, a .gguf file, a hub id or an http(s) address"),
    "embedder": (_line, "all-MiniLM-L6-v2, a folder or a hub id"),
    "cache": (_path, _FOLDER),
    "host": (_line, "an address of this machine, such as 127.0.0.1"),
    "port": (_integer(1, 65535), "a whole number from 1 to 65535"),
    "sites": (_sites, "origins such as https://example.org, separated by spaces or commas"),
    "threads": (_integer(1, 1024), "a whole number from 1 to 1024"),
    "state_gb": (_gigabytes, "a number of gigabytes from 0 to 1000, such as 4 or 0.5"),
    "title": (_line, _ONE_LINE),
    "greeting": (_line, _ONE_LINE),
    "questions": (_questions, "questions separated by |"),
    "contact": (_line, _ONE_LINE),
    "judge": (_line, "a cross-encoder's folder or hub id"),
    "model_name": (_line, _ONE_LINE),
    "model_key": (_ascii, "one line of ASCII characters"),
    "api_key": (_line, _ONE_LINE),
    "keep_questions": (_boolean, "1 or 0"),
    "proxies": (_integer(0, 10), "how many proxies of yours stand in front, a whole number from 0 to 10"),
    "questions_a_minute": (_integer(0, 1_000_000), _LIMIT),
    "questions_a_day": (_integer(0, 1_000_000), _LIMIT),
    "questions_a_day_in_all": (_integer(0, 1_000_000), _LIMIT),
    "auth": (_login, "a name and a password, joined by a colon"),
    "metrics": (_boolean, "1 or 0"),
    "log": (_boolean, "1 or 0"),
}
"""How each variable is read, and what an error says is accepted."""

assert set(PARSERS) == {field.name for field in fields(Settings)} - {"on_spaces", "on_zero_gpu"}
