"""Time to the first word and to the last, Groundwork beside other ways of running the same weights.

The same questions of nq with the same passages, greedy, in one run; the ways take turns, in an order that moves on with
each question, and each runs in a process of its own, so that its peak memory can be told. *Warm* means that the KV
caches of the passages are kept and the question is new; *cold*, that nothing is kept. Both read the best passage and
sentences of the next ones; the other ways read four passages. Whether the answers are right is the affair of `answers`.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from assistant.errors import ModelError
from assistant.llm import llama_cpp
from assistant.llm.kv_cache import StateStore
from assistant.llm.template import as_sent
from assistant.llm.weights import TABLE, fetch
from assistant.pipeline import RESULTS, open_retriever
from assistant.progress import ProgressBar
from assistant.schemas import LanguageModel, Message, Progress
from assistant.settings import Settings
from evaluation.answers import MAX_TOKENS
from evaluation.asking import full, read
from evaluation.data import open_corpus, read_queries
from evaluation.drawing import draw_speed
from evaluation.statistics import keep, quartiles

BASELINE = "full"
Seen = Callable[[str, int], None]
"""Called with each token's text, and how many tokens of the prompt had not to be read."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the assistant has it read, and with all passages in full."""

    read: tuple[Message, ...]
    full: tuple[Message, ...]


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


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Time the first ``limit`` questions of nq in every way; ``data`` and ``seed`` are not used."""
    settings = open_corpus(settings)
    retriever = open_retriever(settings)
    with ProgressBar() as bar, TemporaryDirectory() as folder:
        weights = fetch(TABLE[settings.model], settings.cache, bar.show)
        asked = []
        for query in read_queries("nq", limit):
            results = retriever.search(query.text, RESULTS)
            asked.append(Asked(tuple(read(retriever, query.text, results)), tuple(full(query.text, results))))
        setup = Setup(weights, settings.thread_count, Path(folder))
        running = [Way(name, setup) for name in WAYS]
        rows = []
        for number, one in enumerate(asked):
            bar.show(Progress("Timing", number, len(asked), "questions"))
            rows.append(_row(running, number, one))
        peaks = {way.name: way.close() for way in running}
    result = {"model": settings.model, "threads": settings.thread_count, **summary(rows, peaks), "rows": rows}
    path = keep("speed", result)
    draw_speed(result)
    print(_table(result))
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _row(running: Sequence[Way], number: int, asked: Asked) -> dict[str, Any]:
    """One question in every way, after the states of its passages have been kept."""
    running[0].ask(asked, 1)
    first = number % len(running)
    return {way.name: asdict(way.ask(asked, MAX_TOKENS)) for way in (*running[first:], *running[:first])}


def summary(rows: Sequence[dict[str, Any]], peaks: dict[str, int]) -> dict[str, Any]:
    """Medians and quartiles of each way; ``peaks`` in bytes by way."""
    result: dict[str, Any] = {"questions": len(rows)}
    for name, peak in peaks.items():
        times = {key: [row[name][key] for row in rows] for key in ("first_ms", "total_ms", "tokens_a_second")}
        ratios = [row[name]["first_ms"] / row[BASELINE]["first_ms"] for row in rows]
        result[name] = {
            **{key: quartiles(values) for key, values in times.items()},
            "first_word_of_full": quartiles(ratios),
            "peak_bytes": peak,
        }
    return result


def _table(result: dict[str, Any]) -> str:
    lines = [f"{'':14}{'first word, ms':>24}{'of the full read':>20}{'whole, ms':>12}{'tokens/s':>10}{'peak GB':>9}"]
    for name in WAYS:
        row = result[name]
        first, share = row["first_ms"], row["first_word_of_full"]
        cells = (
            f"{first['median']:.0f} ({first['low']:.0f}–{first['high']:.0f})",
            f"{share['median']:.2f} ({share['low']:.2f}–{share['high']:.2f})",
            f"{row['total_ms']['median']:.0f}",
            f"{row['tokens_a_second']['median']:.1f}",
            f"{row['peak_bytes'] / 1e9:.1f}",
        )
        lines.append("{:14}{:>24}{:>20}{:>12}{:>10}{:>9}".format(name, *cells))
    return "\n".join(lines)


def _warm(setup: Setup) -> Ask:
    """Groundwork, with the states of the passages kept."""
    model = llama_cpp.LlamaModel(setup.weights, "warm", setup.threads, StateStore(setup.states, 1 << 40))
    return lambda asked, max_tokens, seen: _write(model, asked.read, max_tokens, seen)


def _cold(setup: Setup) -> Ask:
    """Groundwork that keeps nothing: every passage is read when it is needed."""
    model = llama_cpp.LlamaModel(setup.weights, "cold", setup.threads)
    return lambda asked, max_tokens, seen: _write(model, asked.read, max_tokens, seen)


def _full(setup: Setup) -> Ask:
    """The same engine, reading all passages from the first token to the last: llama.cpp as such."""
    model = llama_cpp.LlamaModel(setup.weights, "full", setup.threads)
    return lambda asked, max_tokens, seen: _write(model, asked.full, max_tokens, seen)


def _write(model: LanguageModel, messages: Sequence[Message], max_tokens: int, seen: Seen) -> None:
    for token in model.stream(messages, max_tokens, Event()):
        seen(token.text, token.reused_tokens)


def _server(setup: Setup) -> Ask:
    """A llama.cpp server as it comes, its own prompt cache on (`xllamacpp`)."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(setup.weights)
    parameters.n_ctx, parameters.n_parallel, parameters.verbosity = llama_cpp.CONTEXT_TOKENS, 1, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = setup.threads
    running: Any = xllamacpp.Server(parameters)

    def ask(asked: Asked, max_tokens: int, seen: Seen) -> None:
        def take(event: dict[str, Any]) -> bool:
            text = event["choices"][0]["delta"].get("content") if event.get("choices") else None
            if text:
                seen(text, 0)
            return False

        request = {"messages": as_sent(asked.full), "max_tokens": max_tokens, "temperature": 0, "stream": True}
        running.handle_chat_completions(request, take)

    return ask


def _transformers(setup: Setup) -> Ask:
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
            as_sent(asked.full), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            model.generate(**prompt, max_new_tokens=max_tokens, do_sample=False, streamer=Streamer(seen))

    return ask


WAYS: dict[str, Callable[[Setup], Ask]] = {
    "warm": _warm,
    "cold": _cold,
    "full": _full,
    "server": _server,
    "transformers": _transformers,
}


class Way:
    """One engine in its process, ready when this returns."""

    def __init__(self, name: str, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, setup, end), daemon=True)
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


def _serve(name: str, setup: Setup, pipe: Connection) -> None:
    try:
        ask = WAYS[name](setup)
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
