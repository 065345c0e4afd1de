"""Several readers at once: the tokens all get together, the wait for the first word, and how soon a leaver is gone.

One engine with the states of all passages kept. In each round first one reader asks one question after the other; then
`READERS` ask the same questions, one more every `APART` seconds. Tokens a second count from the first question to the
last answer, the reading included. How much faster they are together while all of them write, and nobody
reads, is told beside it: what batching can give at most.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from assistant.llm.kv_cache import StateStore
from assistant.llm.llama_cpp import LlamaModel
from assistant.llm.weights import TABLE, fetch
from assistant.pipeline import RESULTS, open_retriever
from assistant.progress import ProgressBar
from assistant.schemas import Message
from assistant.settings import Settings
from evaluation.answers import MAX_TOKENS
from evaluation.asking import full, read
from evaluation.data import open_corpus, read_queries
from evaluation.statistics import keep, quartiles

READERS = 8
APART = 0.5
"""Sooner than one reader is served, so that they meet."""
ROUNDS = 5
LEAVERS = 10
WRITTEN_TOKENS = 120
READING_SECONDS = 2.0
"""So long a prompt is read when its reader leaves; reading it all takes longer."""


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Ask as many questions of nq as there are readers; ``data``, ``limit`` and ``seed`` are not used."""
    settings = open_corpus(settings)
    retriever = open_retriever(settings)
    with ProgressBar() as bar, TemporaryDirectory() as folder:
        weights = fetch(TABLE[settings.model], settings.cache, bar.show)
        states = StateStore(Path(folder), 1 << 40)
        model = LlamaModel(weights, settings.model, settings.thread_count, states)
        found = [(query.text, retriever.search(query.text, RESULTS)) for query in read_queries("nq", READERS)]
        asked = [read(retriever, question, results) for question, results in found]
        for messages in asked:
            model.read_ahead(messages, Event())
        rounds = [
            (_summary([_ask(model, one) for one in asked]), _summary(_staggered(model, asked))) for _ in range(ROUNDS)
        ]
        result = {
            "model": model.name,
            "readers": READERS,
            "seconds_apart": APART,
            "alone": [alone for alone, _ in rounds],
            "together": [together for _, together in rounds],
            **{
                f"{name}_of_alone": quartiles([together[name] / alone[name] for alone, together in rounds])
                for name in ("tokens_a_second", "first_word_seconds")
            },
            "writing_tokens_a_second": {count: _writing(model, count) for count in (1, READERS)},
            "milliseconds_until_free": _until_free(model, full(*found[0]), asked[0]),
        }
        model.close()
    path = keep("readers", result)
    print({key: value for key, value in result.items() if key != "milliseconds_until_free"})
    print("milliseconds until a leaver is gone:", result["milliseconds_until_free"])
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _ask(model: LlamaModel, messages: Sequence[Message]) -> tuple[float, float, float, int]:
    """When it was asked, when the first and the last token came (seconds), and how many came."""
    asked = time.monotonic()
    times = [time.monotonic() for _ in model.stream(messages, MAX_TOKENS, Event())]
    return asked, times[0], times[-1], len(times)


def _staggered(model: LlamaModel, asked: Sequence[Sequence[Message]]) -> list[tuple[float, float, float, int]]:
    with ThreadPoolExecutor(len(asked)) as pool:
        running = []
        for one in asked:
            running.append(pool.submit(_ask, model, one))
            time.sleep(APART)
        return [future.result() for future in running]


def _summary(times: Sequence[tuple[float, float, float, int]]) -> dict[str, float]:
    seconds = max(end for _, _, end, _ in times) - min(asked for asked, *_ in times)
    tokens = sum(count for *_, count in times)
    return {
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_a_second": round(tokens / seconds, 1),
        "first_word_seconds": round(median(first - asked for asked, first, *_ in times), 2),
        "slowest_first_word_seconds": round(max(first - asked for asked, first, *_ in times), 2),
    }


def _writing(model: LlamaModel, count: int) -> float:
    """Tokens a second that ``count`` readers get in all, from when the last of them begins until one has finished."""

    def write(number: int) -> list[float]:
        asked = [Message("user", (f"Tell a long story about {number} sailors.",))]
        return [time.monotonic() for _ in model.stream(asked, WRITTEN_TOKENS, Event())]

    with ThreadPoolExecutor(count) as pool:
        times = list(pool.map(write, range(count)))
    start, end = max(one[0] for one in times), min(one[-1] for one in times)
    return round(sum(start < moment <= end for one in times for moment in one) / (end - start), 1)


def _until_free(model: LlamaModel, unread: Sequence[Message], read: Sequence[Message]) -> dict[str, float]:
    """The longest time until a leaver is gone, in the middle of reading a prompt, and of writing behind another."""
    return {
        "reading": max(_left(model, unread, after_tokens=0) for _ in range(LEAVERS)),
        "writing": max(_left(model, read, after_tokens=2) for _ in range(LEAVERS)),
    }


def _left(model: LlamaModel, messages: Sequence[Message], after_tokens: int) -> float:
    stop, written = Event(), SimpleQueue[None]()

    def read() -> None:
        for _ in model.stream(messages, MAX_TOKENS, stop):
            written.put(None)

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        for _ in range(after_tokens):
            written.get()
        time.sleep(0.0 if after_tokens else READING_SECONDS)
        left = time.monotonic()
        stop.set()
        while model._batcher.busy:
            time.sleep(0.001)
        gone = time.monotonic()
        reader.result()
    return round((gone - left) * 1000, 1)
