"""A folder → `Document`s, and a report of what was skipped and why.

Reads Markdown and plain text. It does not know what a chunk is, and never follows a link out of the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from assistant.errors import KnowledgeError
from assistant.ingestion import expansion
from assistant.schemas import Document, Skipped

MARKDOWN = frozenset({".md", ".markdown"})
SUFFIXES = MARKDOWN | {".txt", ".text"}
MAX_BYTES = 10_000_000
MAX_LINE = 1_000_000


def read_folder(folder: Path) -> Iterator[Document | Skipped]:
    """Every file below ``folder``, in sorted order: a `Document`, or a `Skipped` with the reason.

    Hidden files and folders are passed over without a word.

    Raises:
        KnowledgeError: the folder does not exist or cannot be listed.
    """
    if not folder.is_dir():
        raise KnowledgeError(
            f"The knowledge folder {folder} does not exist: create it and put Markdown or text files into it, "
            "or point ASSISTANT_KNOWLEDGE (or --knowledge) at the folder that holds them."
        )
    root = folder.resolve()
    for path in _files(folder):
        relative = path.relative_to(folder).as_posix()
        try:
            yield _read(path, relative, root)
        except _Unreadable as reason:
            yield Skipped(_printable(relative), str(reason))
        except OSError as error:
            yield Skipped(_printable(relative), f"cannot be read ({error.strerror}): check its permissions")


class _Unreadable(Exception):
    """Why one file is skipped."""


def _files(folder: Path) -> Iterator[Path]:
    def complain(error: OSError) -> None:
        raise KnowledgeError(
            f"The knowledge folder {folder} cannot be listed ({error.strerror}): check the permissions of "
            f"{error.filename}."
        )

    found = []
    for parent, folders, names in os.walk(folder, onerror=complain):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".") and not _is_sidecar(parent, name)]
    return iter(sorted(found))


def _is_sidecar(folder: str, name: str) -> bool:
    return name.endswith(expansion.SUFFIX) and Path(folder, name.removesuffix(expansion.SUFFIX)).exists()


def _read(path: Path, relative: str, root: Path) -> Document:
    if path.suffix.lower() not in SUFFIXES:
        raise _Unreadable(f"its type is not supported: use one of {', '.join(sorted(SUFFIXES))}")
    if _printable(relative) != relative:
        raise _Unreadable("its name has characters that cannot be shown: rename it")
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise _Unreadable("it is a link that leads out of the knowledge folder: copy the file here instead")
    if not path.is_file():
        raise _Unreadable("it is not a plain file: put the file itself here")
    if path.stat().st_size > MAX_BYTES:
        raise _Unreadable(f"it is larger than {MAX_BYTES // 1_000_000} MB: split it")
    data = path.read_bytes()
    text = _decoded(data)
    front, body_line = _front_matter(text) if path.suffix.lower() in MARKDOWN else ({}, 0)
    body = text.split("\n", body_line)[-1] if body_line else text
    if not body.strip():
        raise _Unreadable("it holds no text: write some, or remove it")
    title = front.get("title") or _first_heading(body, path.suffix) or path.stem.replace("-", " ").replace("_", " ")
    summary = str(front.get("summary") or "")
    try:
        entries = expansion.read(path)
    except ValueError:
        raise _Unreadable(f"{expansion.sidecar(path).name} beside it is damaged: delete that file") from None
    digest = hashlib.sha256(data + repr(entries).encode() * bool(entries)).hexdigest()
    return Document(relative, _one_line(str(title)), _one_line(summary), text, body_line, digest, entries)


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable("it is UTF-16, not UTF-8: save it again as UTF-8")
    if b"\0" in data:
        raise _Unreadable("it holds binary data: save it as text in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _Unreadable(f"it is not UTF-8 (line {line}): save it again as UTF-8") from None
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    if any(len(line) > MAX_LINE for line in text.split("\n")):
        raise _Unreadable(f"it has a line of more than {MAX_LINE:,} characters: break its lines")
    return text


def _front_matter(text: str) -> tuple[dict[str, Any], int]:
    """The YAML between two ``---`` lines at the very start, and how many lines it takes; ``({}, 0)`` if none."""
    lines = text.split("\n")
    if lines[0].strip() != "---":
        return {}, 0
    end = next((number for number, line in enumerate(lines[1:], 1) if line.strip() in {"---", "..."}), None)
    if end is None:
        return {}, 0
    try:
        front = yaml.safe_load("\n".join(lines[1:end]))
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 2}" if where else ""
        raise _Unreadable(f"its front matter is not valid YAML{line}: mend it or remove it") from None
    return (front, end + 1) if isinstance(front, dict) else ({}, 0)


def _first_heading(body: str, suffix: str) -> str:
    if suffix.lower() not in MARKDOWN:
        return ""
    body = re.sub(r"^(```|~~~).*?(?:^\1|\Z)", "", body, flags=re.MULTILINE | re.DOTALL)
    return next((line[2:].strip() for line in body.split("\n") if line.startswith("# ")), "")


def _one_line(text: str) -> str:
    return " ".join(_printable(text).split())


def _printable(text: str) -> str:
    """Without control characters and lone surrogates (which undecodable file names hold)."""
    return "".join("�" if unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t" else c for c in text)
