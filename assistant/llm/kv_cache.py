"""What a model has read, kept on disk: bytes by key, bounded, and checked when they are read back.

The folder may be deleted at any time. A file is its content's SHA-256 followed by the content; one that is truncated
or foreign counts as missing. When there is no room, what was used longest ago goes first. This module does not know
what a state is made of.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from threading import Lock

DIGEST_BYTES = 32
SUFFIX = ".state"


class StateStore:
    """States in one folder; safe to share between threads.

    Args:
        folder: where they are kept; made when the first one is.
        limit: bytes that all files may have together; 0 keeps nothing.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = Lock()

    def get(self, key: str) -> bytes | None:
        """The state of this key, or ``None`` when there is none that can be used."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        state = content[DIGEST_BYTES:]
        is_sound = hashlib.sha256(state).digest() == content[:DIGEST_BYTES]
        with suppress(OSError):  # in a folder that can only be read, files stay, and none is driven out
            # the time of the last use decides what goes first
            os.utime(path) if is_sound else path.unlink()
        return state if is_sound else None

    def put(self, key: str, state: bytes) -> None:
        """Keep a state. A folder that cannot be written keeps none, and everything is read anew each time."""
        size = len(state) + DIGEST_BYTES
        if size > self._limit:
            return
        with self._lock:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._make_room(size)
                partial = self._folder / f"{key}.{secrets.token_hex(4)}.partial"
                partial.write_bytes(hashlib.sha256(state).digest() + state)
                partial.replace(self._path(key))
            except OSError as error:
                logging.getLogger(__name__).warning(
                    "What the model has read cannot be kept in %s (%s): free space there, or choose another folder "
                    "with ASSISTANT_CACHE. Until then passages are read anew for each question.",
                    self._folder,
                    error.strerror or error,
                )
                self._limit = 0

    def has(self, key: str) -> bool:
        """Whether there is a file of this key; `get` may still find it damaged."""
        return self._path(key).exists()

    def has_room(self, size: int) -> bool:
        """Whether a state of ``size`` bytes would fit without driving another one out."""
        return self.used() + size + DIGEST_BYTES <= self._limit

    def used(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size, _ in self._files())

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"

    def _files(self) -> list[tuple[float, int, Path]]:
        """Time of last use, size and path of every file, the longest unused first."""
        found = []
        for path in self._folder.glob("*"):
            with suppress(FileNotFoundError):  # somebody may be deleting them
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _make_room(self, size: int) -> None:
        files = self._files()
        used = sum(bytes_ for _, bytes_, _ in files)
        for _, bytes_, path in files:
            if used + size <= self._limit:
                return
            path.unlink(missing_ok=True)
            used -= bytes_
