"""Reads the passages in idle time, before anybody asks about them.

A passage that the model has read before is answered from in a fraction of the time (see `llm.llama_cpp`). The most
useful are read first: every document's first passage, then every document's second, and so on. A question always goes
before, and what there is no room for on disk is left. This module does not know what a model keeps, or where.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from assistant.errors import AssistantError
from assistant.llm import memory
from assistant.pipeline import Assistant
from assistant.schemas import Chunk

_LOG = logging.getLogger(__name__)
LOOK_SECONDS = 30.0
"""How often it is looked whether the documents have changed, and free memory given back."""
WORK_SECONDS = 0.05
"""What took longer was computed, and not found on disk."""
PAUSE_SECONDS = 0.2
"""Between two passages the machine is left alone for as long as the last one took, at most so long."""


class ReadAhead:
    """Reads every passage of an assistant's index once, and again after it has changed.

    ``read`` of ``total`` passages are ready, and ``done`` is set while there is nothing more to read, or no room for
    it; all may be looked at from any thread.
    """

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant
        self.read = 0
        self.total = 0
        self.done = Event()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="reading-ahead", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """End, in the middle of a passage if need be."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        known: Any = None
        while not self._stop.is_set():
            chunks: list[Chunk] = []
            # without an index a question says what to do, and we look again
            with suppress(AssistantError), self._assistant.retriever.index.snapshot() as snapshot:
                if snapshot.store is not known:  # every generation has a store of its own
                    chunks, known = list(snapshot.all_chunks()), snapshot.store
            if chunks:
                self.done.clear()
                try:
                    self._read_all(chunks)
                except AssistantError as error:
                    _LOG.warning("Passages cannot be read ahead, which is tried again soon: %s", error)
                    known = None
                self.done.set()
            memory.give_back()
            self._stop.wait(LOOK_SECONDS)

    def _read_all(self, chunks: list[Chunk]) -> None:
        self.read, self.total = 0, len(chunks)
        for chunk in most_useful_first(chunks):
            if self._stop.is_set():
                return
            started = time.monotonic()
            self.read += self._assistant.prefill(chunk, self._stop)
            if time.monotonic() - started > WORK_SECONDS:
                memory.give_back()
            time.sleep(min(PAUSE_SECONDS, time.monotonic() - started))


def most_useful_first(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Every document's first passage, which says what it is about, then every document's second, and so on."""
    seen: dict[str, int] = defaultdict(int)
    ranked = []
    for position, chunk in enumerate(chunks):
        ranked.append((seen[chunk.document], position, chunk))
        seen[chunk.document] += 1
    return [chunk for _, _, chunk in sorted(ranked, key=lambda entry: entry[:2])]
