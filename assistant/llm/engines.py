"""The name of a model → the engine that runs it.

The one place that knows all engines. Names and what they may be: see ``ASSISTANT_MODEL`` in docs/configuration.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from assistant.errors import ModelError
from assistant.llm import hub, zero_gpu
from assistant.llm.kv_cache import StateStore
from assistant.llm.openai_client import RemoteModel
from assistant.llm.weights import TABLE, Weights, fetch
from assistant.schemas import LanguageModel, Progress
from assistant.settings import Settings


def load_model(settings: Settings, progress: Callable[[Progress], None]) -> LanguageModel:
    """Load the model that the settings name, fetching its weights if they are not there.

    Raises:
        WeightsError: the weights cannot be fetched.
        ModelError: there is no such model, or it cannot be loaded.
    """
    name = settings.model
    if settings.is_model_remote:
        progress(Progress(f"Asking {name}"))
        return RemoteModel(name, settings.model_name, settings.model_key)
    weights = TABLE.get(name)
    if weights and _use_gpu(weights):
        return _transformers(weights.original, name, settings, progress)
    if weights:
        return _llama(fetch(weights, settings.cache, progress), name, settings, progress)
    if name.lower().endswith(".gguf"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ModelError(f"ASSISTANT_MODEL is {name}, but there is no such file: check the path.")
        return _llama(path, path.stem, settings, progress)
    if Path(name).is_dir() or "/" in name:
        return _transformers(name, name, settings, progress)
    raise ModelError(
        f"ASSISTANT_MODEL is {name}, which is no known model: use {', '.join(TABLE)}, a .gguf file, a folder, "
        "a hub id or an address."
    )


def _llama(path: Path, name: str, settings: Settings, progress: Callable[[Progress], None]) -> LanguageModel:
    from assistant.llm.llama_cpp import LlamaModel

    progress(Progress(f"Loading {name}"))
    return LlamaModel(path, name, settings.thread_count, StateStore(settings.states, settings.state_bytes))


def _transformers(location: str, name: str, settings: Settings, progress: Callable[[Progress], None]) -> LanguageModel:
    from assistant.llm.transformers_model import TransformersModel

    progress(Progress(f"Loading {name}"))
    here = Path(location).is_dir() or not hub.answers(location)
    return TransformersModel(location, name, here, zero_gpu.lent if settings.on_zero_gpu else None)


def _use_gpu(weights: Weights) -> bool:
    """Whether the unquantised model can run here: a CUDA device, and its weights cached or within reach."""
    import torch
    from huggingface_hub import try_to_load_from_cache

    if not torch.cuda.is_available():
        return False
    cached = isinstance(try_to_load_from_cache(weights.original, "config.json"), str)
    return cached or hub.answers(weights.original)
