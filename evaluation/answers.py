"""Right answers on nq: from the one passage that is chosen, beside four passages read in full.

The same questions, the same passages, the same weights, greedy. *Full* is a prompt of all four, read from its first
token to its last. *Chosen* is what a reader gets: the model looks at those passages that are nearly as near as the best
one, and reads the one that answers. `curve` adds the best-ranked passage alone, and two to four passages, each as it
was read alone, joined in one prompt. An answer is right when, in at most 80 words, it contains one of the gold answers
(lower case, without articles and punctuation). What the model wrote is judged, before its sentences are held against
the passages. The time to the first token holds the looks; it is of a machine that does other things too, and `speed`
compares times.

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

from assistant.pipeline import Assistant
from assistant.errors import ModelError
from assistant.llm.llama_cpp import LlamaModel
from assistant.progress import ProgressBar
from assistant.prompts import SIGNS
from assistant.settings import Settings
from assistant.schemas import LanguageModel, Message, SearchResult
from evaluation.asking import PASSAGES, chosen, full, joined
from evaluation.data import Query, gold_answers, open_corpus, read_queries
from evaluation.likelihood import log_probability
from evaluation.statistics import RESULTS, interval, keep, show

MAX_TOKENS = 80
MAX_WORDS = 80
LIKELIHOODS = 10
"""Questions for which log-probabilities are told: each costs another reading of the full prompt."""
FULL, CHOSEN = "full", "chosen"
JOINED = {f"joined {count}": count for count in range(1, PASSAGES + 1)}


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Ask the first ``limit`` questions of nq in full and as a reader does; ``data`` is not used."""
    return _measured("answers", (FULL, CHOSEN), settings, limit, seed)


def curve(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """The same for one to four passages that were read alone."""
    return _measured("curve", (FULL, CHOSEN, *JOINED), settings, limit, seed)


def _measured(metric: str, points: Sequence[str], settings: Settings, limit: int, seed: int) -> dict[str, Any]:
    settings = open_corpus(settings)
    with ProgressBar() as bar:
        assistant = Assistant.from_settings(settings, bar.show)
    kept = kept_answers(assistant.model)
    gold = gold_answers("nq")
    rows: list[dict[str, Any]] = []
    for query in read_queries("nq", limit):
        rows.append(_row(kept, assistant, points, query, gold[query.identifier], len(rows) < LIKELIHOODS))
    result = {"model": assistant.model.name, "set": "nq", "seed": seed, **_summary(rows, points, seed), "rows": rows}
    path = keep(metric, result)
    for name in points:
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
        return self._of("answer", messages, lambda: _answered(self._model, messages))

    def lead(self, messages: Sequence[Message]) -> dict[str, Any]:
        """The lead behind this prompt, and the time that it took."""
        return self._of(f"lead by {SIGNS}", messages, lambda: _lead(self._model, messages))

    def likelihood(self, messages: Sequence[Message], answer: str) -> float:
        """The mean log-probability of ``answer``'s tokens behind this prompt."""
        made = self._of(
            f"log-probability of {answer}", messages, lambda: {"mean": log_probability(self._model, messages, answer)}
        )
        return float(made["mean"])

    def _of(self, what: str, messages: Sequence[Message], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        pieces = [[message.role, [[type(piece).__name__, piece] for piece in message.pieces]] for message in messages]
        key = hashlib.sha256(json.dumps([self._model._make, MAX_TOKENS, what, pieces]).encode()).hexdigest()
        if key not in self._rows:
            self._rows[key] = {"key": key, **make()}
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


def _row(
    kept: KeptAnswers,
    assistant: Assistant,
    points: Sequence[str],
    query: Query,
    gold: Sequence[str],
    with_likelihood: bool,
) -> dict[str, Any]:
    row: dict[str, Any] = {"id": query.identifier, "question": query.text}
    reference = ""
    results = assistant.retriever.search(query.text, PASSAGES)
    for name in points:
        messages, looks = _prompt(kept, name, query.text, results)
        row[name] = kept.answered(messages)
        row[name]["looks"] = len(looks)
        row[name]["first_token_ms"] += sum(look["ms"] for look in looks)
        reference = reference or row[name]["answer"]
        row[name]["right"] = is_right(row[name]["answer"], gold)
        if with_likelihood and reference:
            row[name]["log_probability"] = kept.likelihood(messages, reference)
    verdicts = " ".join(f"{row[name]['right']:d}" for name in points)
    print(f"{verdicts} {query.text}", file=sys.stderr, flush=True)
    return row


def _prompt(
    kept: KeptAnswers, name: str, question: str, results: Sequence[SearchResult]
) -> tuple[list[Message], list[dict[str, Any]]]:
    """The prompt of one point of the curve, and the looks that it took."""
    looks: list[dict[str, Any]] = []

    def look(asked: list[list[Message]]) -> list[float]:
        looks.extend(kept.lead(messages) for messages in asked)
        return [told["lead"] for told in looks]

    if name == FULL:
        return full(question, results), looks
    if name == CHOSEN:
        return chosen(question, results, look), looks
    return joined(question, results, JOINED[name]), looks


def _lead(model: LlamaModel, messages: Sequence[Message]) -> dict[str, Any]:
    model.read_ahead(messages, Event())
    started = time.monotonic()
    (lead,) = model.leads([messages], SIGNS, Event())
    return {"lead": lead, "ms": round((time.monotonic() - started) * 1000)}


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


def _summary(rows: Sequence[dict[str, Any]], points: Sequence[str], seed: int) -> dict[str, Any]:
    summary: dict[str, Any] = {"questions": len(rows)}
    for name in points:
        right = [float(row[name]["right"]) for row in rows]
        difference = [value - float(row[FULL]["right"]) for value, row in zip(right, rows, strict=True)]
        told = [row for row in rows if "log_probability" in row[name]]
        likelihood = [row[name]["log_probability"] - row[FULL]["log_probability"] for row in told]
        summary[name] = {
            "right": interval(right, seed),
            "right_against_full": interval(difference, seed),
            "log_probability": interval([row[name]["log_probability"] for row in told], seed),
            "log_probability_against_full": interval(likelihood, seed),
            "first_token_ms": float(np.median([row[name]["first_token_ms"] for row in rows])),
            "fresh_tokens": float(np.median([row[name]["prompt_tokens"] - row[name]["reused_tokens"] for row in rows])),
            "looks": float(np.mean([row[name]["looks"] for row in rows])),
        }
    return summary


def _line(name: str, point: dict[str, Any]) -> str:
    return (
        f"{name:10} right {show(point['right'])}, against full {show(point['right_against_full'])}; "
        f"log-probability of full's answer {point['log_probability']['mean']:.3f}; "
        f"first token {point['first_token_ms'] / 1000:.1f} s, {point['fresh_tokens']:.0f} tokens read, "
        f"{point['looks']:.1f} looks"
    )
