"""The ways of answering that `speed` compares: each an engine in a process of its own, asked over a pipe.

In a process of its own, a way's peak memory can be told. All ways read the same weights, write greedily and have the
same number of threads. This module does not know what is asked.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from typing import Any

from assistant.errors import ModelError
from assistant.llm import llama
from assistant.llm.kv_cache import StateStore
from assistant.llm.template import as_sent
from assistant.prompts import SIGNS
from assistant.schemas import LanguageModel, Message, SearchResult
from evaluation import asking

Seen = Callable[[str, int], None]
"""Called with each token's text, and how many tokens of the prompt had not to be read."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the passages that were found for it, best first."""

    question: str
    results: tuple[SearchResult, ...]


Ask = Callable[[Asked, int, Seen], None]
"""What is asked, and the most tokens to answer with → calls of `Seen`."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What an engine needs to start; ``states`` is the folder for what was read."""

    weights: Path
    threads: int
    states: Path


@dataclass(frozen=True, slots=True)
class Timing:
    """One answer, in milliseconds from the question; ``tokens_a_second`` while it was written, without the reading."""

    first_ms: float
    total_ms: float
    tokens: int
    reused_tokens: int
    tokens_a_second: float
    text: str


def warm(setup: Setup) -> Ask:
    """Groundwork, with the states of the passages kept."""
    return _choosing(llama.LlamaModel(setup.weights, "warm", setup.threads, StateStore(setup.states, 1 << 40)))


def cold(setup: Setup) -> Ask:
    """Groundwork that keeps nothing: every passage is read when it is needed."""
    return _choosing(llama.LlamaModel(setup.weights, "cold", setup.threads))


def full(setup: Setup) -> Ask:
    """The same engine, reading all passages from the first token to the last: llama.cpp as such."""
    model = llama.LlamaModel(setup.weights, "full", setup.threads)
    return lambda asked, max_tokens, seen: _write(model, asking.full(asked.question, asked.results), max_tokens, seen)


def server(setup: Setup) -> Ask:
    """A llama.cpp server as it comes, its own prompt cache on (`xllamacpp`)."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(setup.weights)
    parameters.n_ctx, parameters.n_parallel, parameters.verbosity = llama.CONTEXT_TOKENS, 1, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = setup.threads
    running: Any = xllamacpp.Server(parameters)

    def ask(asked: Asked, max_tokens: int, seen: Seen) -> None:
        def take(event: dict[str, Any]) -> bool:
            text = event["choices"][0]["delta"].get("content") if event.get("choices") else None
            if text:
                seen(text, 0)
            return False

        turns = as_sent(asking.full(asked.question, asked.results))
        request = {"messages": turns, "max_tokens": max_tokens, "temperature": 0, "stream": True}
        running.handle_chat_completions(request, take)

    return ask


def transformers(setup: Setup) -> Ask:
    """`generate` of transformers, on the same weights turned into 32-bit numbers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.generation.streamers import BaseStreamer

    torch.set_num_threads(setup.threads)
    place = {"pretrained_model_name_or_path": str(setup.weights.parent), "gguf_file": setup.weights.name}
    tokenizer: Any = AutoTokenizer.from_pretrained(**place)
    model: Any = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()

    class Streamer(BaseStreamer):  # type: ignore[misc]
        def __init__(self, seen: Seen) -> None:
            self.seen, self.is_prompt = seen, True

        def put(self, value: Any) -> None:
            if not self.is_prompt:
                self.seen(tokenizer.decode(value, skip_special_tokens=True), 0)
            self.is_prompt = False

        def end(self) -> None:
            pass

    def ask(asked: Asked, max_tokens: int, seen: Seen) -> None:
        prompt = tokenizer.apply_chat_template(
            as_sent(asking.full(asked.question, asked.results)),
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        with torch.inference_mode():
            model.generate(**prompt, max_new_tokens=max_tokens, do_sample=False, streamer=Streamer(seen))

    return ask


class Way:
    """One engine in its process, started at once and ready after `wait`."""

    def __init__(self, start: Callable[[Setup], Ask], setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = start.__name__
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(start, setup, end), daemon=True)
        self._process.start()
        end.close()
        if failed := self._pipe.recv():
            raise ModelError(f"{self.name} cannot be measured ({failed}): `make bench` installs what it needs.")

    def ask(self, asked: Asked, max_tokens: int) -> Timing:
        """Answer the question, and time it."""
        self._pipe.send((asked, max_tokens))
        timing: Timing = self._pipe.recv()
        return timing

    def close(self) -> int:
        """End the process; its peak resident memory in bytes."""
        self._pipe.send(None)
        peak = int(self._pipe.recv())
        self._process.join()
        return peak


def _serve(start: Callable[[Setup], Ask], setup: Setup, pipe: Connection) -> None:
    try:
        ask = start(setup)
    except (ImportError, ValueError, RuntimeError, OSError) as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send("")
    while (asked := pipe.recv()) is not None:
        pipe.send(_timed(ask, *asked))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _timed(ask: Ask, asked: Asked, max_tokens: int) -> Timing:
    texts: list[str] = []
    times: list[float] = []
    reused = 0

    def seen(text: str, tokens: int) -> None:
        nonlocal reused
        times.append(time.monotonic())
        texts.append(text)
        reused = tokens

    started = time.monotonic()
    ask(asked, max_tokens, seen)
    ended = time.monotonic()
    if not times:
        raise RuntimeError("no token came")
    first = times[0]
    speed = (len(times) - 1) / max(1e-9, times[-1] - first) if len(times) > 1 else 0.0
    return Timing((first - started) * 1e3, (ended - started) * 1e3, len(times), reused, speed, "".join(texts))


def _choosing(model: LanguageModel) -> Ask:
    def ask(asked: Asked, max_tokens: int, seen: Seen) -> None:
        messages = asking.chosen(asked.question, asked.results, lambda looks: model.leads(looks, SIGNS, Event()))
        _write(model, messages, max_tokens, seen)

    return ask


def _write(model: LanguageModel, messages: Sequence[Message], max_tokens: int, seen: Seen) -> None:
    for token in model.stream(messages, max_tokens, Event()):
        seen(token.text, token.reused_tokens)
