"""Right answers on nq: from what a reader's question makes the model read, beside four passages read in full.

The same questions, the same passages, the same weights, greedy. *Full* is a prompt of four passages, read from its
first token to its last. *Read* is what a reader gets: the best passage, and the nearest sentences of the next ones;
*first* is the best passage alone. An answer is right when, in at most 80 words, it contains one of the gold answers
(lower case, without articles and punctuation). What the model wrote is judged, before its sentences are held against
the passages. The time to the first token is of a machine that does other things too, and `speed` compares times.

What was answered before is not asked again: answers are kept by prompt, weights and engine beside the results, so that
a run of hours can be interrupted and goes on on another machine, and a new setting costs only itself. Deleting the
file is safe.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from assistant.errors import ModelError
from assistant.llm.llama_cpp import LlamaModel
from assistant.pipeline import RESULTS as FOUND
from assistant.pipeline import Assistant
from assistant.progress import ProgressBar
from assistant.retrieval.hybrid_search import Retriever
from assistant.schemas import LanguageModel, Message, SearchResult
from assistant.settings import Settings
from evaluation import asking
from evaluation.data import Query, gold_answers, open_corpus, read_queries
from evaluation.statistics import RESULTS, interval, keep, show

MAX_TOKENS = 80
MAX_WORDS = 80
FULL = "full"
Prompt = Callable[[Retriever, str, Sequence[SearchResult]], list[Message]]
POINTS: dict[str, Prompt] = {
    FULL: lambda _, question, results: asking.full(question, results),
    "read": asking.read,
    "first": lambda _, question, results: asking.first(question, results),
}


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Ask the first ``limit`` questions of nq in every way; ``data`` is not used."""
    settings = open_corpus(settings)
    with ProgressBar() as bar:
        assistant = Assistant.from_settings(settings, bar.show)
    kept = kept_answers(assistant.model)
    gold = gold_answers("nq")
    rows = [_row(kept, assistant, query, gold[query.identifier]) for query in read_queries("nq", limit)]
    result = {"model": assistant.model.name, "set": "nq", "seed": seed, **_summary(rows, seed), "rows": rows}
    path = keep("answers", result)
    for name in POINTS:
        print(_line(name, result[name]))
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


class KeptAnswers:
    """Answers by their prompts, kept in a file."""

    def __init__(self, path: Path, model: LlamaModel) -> None:
        self._path = path
        self._model = model
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._rows: dict[str, dict[str, Any]] = {row["key"]: row for row in map(json.loads, lines)}

    def answered(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Text, tokens and times of the answer to this prompt."""
        pieces = [[message.role, [[type(piece).__name__, piece] for piece in message.pieces]] for message in messages]
        key = hashlib.sha256(json.dumps([self._model._make, MAX_TOKENS, pieces]).encode()).hexdigest()
        if key not in self._rows:
            self._rows[key] = {"key": key, **_answered(self._model, messages)}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self._rows[key]) + "\n")
        return {name: value for name, value in self._rows[key].items() if name != "key"}


def kept_answers(model: LanguageModel) -> KeptAnswers:
    """Those of this model, in the file that all measurements share.

    Raises:
        ModelError: the model does not run on llama.cpp.
    """
    if not isinstance(model, LlamaModel):
        raise ModelError(f"{model.name} keeps no passages: set ASSISTANT_MODEL to one that llama.cpp runs.")
    return KeptAnswers(RESULTS / "answers_kept.jsonl", model)


def _row(kept: KeptAnswers, assistant: Assistant, query: Query, gold: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": query.identifier, "question": query.text}
    results = assistant.retriever.search(query.text, FOUND)
    for name, prompt in POINTS.items():
        row[name] = kept.answered(prompt(assistant.retriever, query.text, results))
        row[name]["right"] = is_right(row[name]["answer"], gold)
    verdicts = " ".join(f"{row[name]['right']:d}" for name in POINTS)
    print(f"{verdicts} {query.text}", file=sys.stderr, flush=True)
    return row


def _answered(model: LlamaModel, messages: Sequence[Message]) -> dict[str, Any]:
    model.read_ahead(messages, Event())
    started, first, text, tokens = time.monotonic(), 0.0, "", 0
    reused = prompt = 0
    for token in model.stream(messages, MAX_TOKENS, Event()):
        first = first or time.monotonic() - started
        text, tokens, reused, prompt = text + token.text, tokens + 1, token.reused_tokens, token.prompt_tokens
    return {
        "answer": text,
        "first_token_ms": round(first * 1000),
        "answer_tokens": tokens,
        "prompt_tokens": prompt,
        "reused_tokens": reused,
    }


def is_right(text: str, gold: Sequence[str]) -> bool:
    """Whether the answer holds one of the gold answers, in at most `MAX_WORDS` words."""
    plain = _normalised(text)
    return len(text.split()) <= MAX_WORDS and any(_normalised(answer) in plain for answer in gold)


def _normalised(text: str) -> str:
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def _summary(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    summary: dict[str, Any] = {"questions": len(rows)}
    for name in POINTS:
        right = [float(row[name]["right"]) for row in rows]
        difference = [value - float(row[FULL]["right"]) for value, row in zip(right, rows, strict=True)]
        summary[name] = {
            "right": interval(right, seed),
            "right_against_full": interval(difference, seed),
            "first_token_ms": float(np.median([row[name]["first_token_ms"] for row in rows])),
            "fresh_tokens": float(np.median([row[name]["prompt_tokens"] - row[name]["reused_tokens"] for row in rows])),
        }
    return summary


def _line(name: str, point: dict[str, Any]) -> str:
    return (
        f"{name:10} right {show(point['right'])}, against full {show(point['right_against_full'])}; "
        f"first token {point['first_token_ms'] / 1000:.1f} s, {point['fresh_tokens']:.0f} tokens read"
    )
