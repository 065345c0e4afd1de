"""`python -m assistant expand`: the model writes questions that each passage answers, for the search.

See `ingestion.expansion` for the files. Only passages without questions, or whose text has changed, are read; a file is
written after each document, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from assistant.ingestion import expansion
from assistant.ingestion.chunker import split_document
from assistant.ingestion.loaders import read_folder
from assistant.prompts import EXPAND_TOKENS, expand_messages, questions_in
from assistant.schemas import Chunk, Document, Embedder, Expansion, LanguageModel, Progress

AT_ONCE = 4
"""Passages that the model reads together."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did."""

    passages: int
    written: int
    questions: int
    seconds: float


def expand(
    knowledge: Path,
    embedder: Embedder,
    model: LanguageModel,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: Event | None = None,
) -> Report:
    """Write the expansion of every document below ``knowledge`` that lacks one or has changed.

    Raises:
        KnowledgeError: the folder does not exist.
        ModelError: the model failed.
        OSError: a file cannot be written.
    """
    stop = stop or Event()
    started = time.monotonic()
    documents = [item for item in read_folder(knowledge) if isinstance(item, Document)]
    chunks = {d.path: split_document(d, embedder.count, embedder.max_tokens - 2) for d in documents}
    total, done, written, questions = sum(map(len, chunks.values())), 0, 0, 0

    def questions_of(chunk: Chunk) -> Expansion:
        text = "".join(token.text for token in model.stream(expand_messages(chunk), EXPAND_TOKENS, stop))
        return Expansion(chunk.heading_path, expansion.digest(chunk), questions_in(text)[: expansion.MOST])

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="expand") as pool:
        for document in documents:
            known = {entry.digest: entry for entry in document.expansion}
            missing = [chunk for chunk in chunks[document.path] if expansion.digest(chunk) not in known]
            for entry in pool.map(questions_of, missing):
                known[entry.digest] = entry
                written, questions, done = written + 1, questions + len(entry.questions), done + 1
                progress(Progress("Expanding", done, total, "passages"))
            done += len(chunks[document.path]) - len(missing)
            if stop.is_set():
                break
            entries = [known[expansion.digest(chunk)] for chunk in chunks[document.path]]
            if missing or len(known) > len(entries):
                expansion.write(knowledge / document.path, entries)
    return Report(total, written, questions, round(time.monotonic() - started, 1))
