"""Right answers on nq, and the time to the first token: passages spliced from kept states, beside all read in full.

The same questions, the same four passages, the same weights, greedy, in turn. *Full* is the prompt without the
sentences that stand once more behind the passages, read from its first token to its last. *Spliced* is what a reader
gets when the passages' states are kept and the question is new. An answer is right when, in at most 80 words, it
contains one of the gold answers (lower case, without articles and punctuation). What the model wrote is judged, before
its sentences are held against the passages. Log-probabilities are not compared: this version of the engine hands out
none.
"""

from __future__ import annotations

import json
import re
import string
import sys
import time
from collections.abc import Sequence
from threading import Event
from typing import Any

import numpy as np

from assistant.answering import READ_AFRESH, Assistant
from assistant.grounding import Evidence
from assistant.progress import ProgressBar
from assistant.prompting import build_messages
from assistant.settings import Settings
from assistant.types import Message
from evaluation.data import FOLDER, Query, open_corpus, read_queries
from evaluation.statistics import interval, keep, show

PASSAGES = 4
MAX_TOKENS = 80
MAX_WORDS = 80


def run(settings: Settings, limit: int, seed: int) -> dict[str, Any]:
    """Ask the first ``limit`` questions of nq in both ways."""
    settings = open_corpus(settings)
    with ProgressBar() as bar:
        assistant = Assistant.from_settings(settings, bar.show)
    rows = [_both(assistant, query) for query in read_queries("nq", limit)]
    result = {"model": assistant.model.name, "set": "nq", "seed": seed, **_summary(rows, seed), "rows": rows}
    path = keep("answers", result)
    for name in ("full", "spliced"):
        print(
            f"{name}: right {show(result[name]['right'])}, first token {result[name]['first_token_ms']:.0f} ms (median)"
        )
    print(f"difference in right: {show(result['difference'])}; first token, full / spliced: {result['ratio']}")
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _both(assistant: Assistant, query: Query) -> dict[str, Any]:
    results = assistant.retriever.search(query.text, PASSAGES)
    count = assistant.model.count
    again = [
        near.quote for near, _ in Evidence(results, assistant.sentence_vectors).nearest([query.text])[:READ_AFRESH]
    ]
    spliced = build_messages(query.text, results, (), count, again)
    assistant.model.read_ahead(spliced, Event())
    # without the mark of a passage, a piece is read like any other text
    plain = [Message(m.role, tuple(map(str, m.pieces))) for m in build_messages(query.text, results, (), count)]
    row: dict[str, Any] = {"id": query.identifier, "question": query.text}
    for name, messages in (("full", plain), ("spliced", spliced)):
        row[name] = _answered(assistant, messages, _gold()[query.identifier])
    print(f"{row['full']['right']:d} {row['spliced']['right']:d} {query.text}", file=sys.stderr, flush=True)
    return row


def _answered(assistant: Assistant, messages: Sequence[Message], gold: Sequence[str]) -> dict[str, Any]:
    started, first, text, tokens = time.monotonic(), 0.0, "", 0
    reused = prompt = 0
    for token in assistant.model.stream(messages, MAX_TOKENS, Event()):
        first = first or time.monotonic() - started
        text, tokens, reused, prompt = text + token.text, tokens + 1, token.reused_tokens, token.prompt_tokens
    return {
        "answer": text,
        "right": is_right(text, gold),
        "first_token_ms": round(first * 1000),
        "writing_ms": round((time.monotonic() - started - first) * 1000),
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


def _gold() -> dict[str, list[str]]:
    lines = (FOLDER / "data" / "nq" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["_id"]: row["answers"] for row in map(json.loads, lines)}


def _summary(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    def column(name: str, key: str) -> list[float]:
        return [float(row[name][key]) for row in rows]

    summary: dict[str, Any] = {"questions": len(rows)}
    for name in ("full", "spliced"):
        summary[name] = {
            "right": interval(column(name, "right"), seed),
            "first_token_ms": float(np.median(column(name, "first_token_ms"))),
            "tokens_a_second": round(
                sum(column(name, "answer_tokens")) / max(1e-9, sum(column(name, "writing_ms"))) * 1000, 1
            ),
        }
    pairs = zip(column("spliced", "right"), column("full", "right"), strict=True)
    summary["difference"] = interval([spliced - full for spliced, full in pairs], seed)
    ratios = [row["full"]["first_token_ms"] / max(1, row["spliced"]["first_token_ms"]) for row in rows]
    summary["ratio"] = {
        "median": round(float(np.median(ratios)), 1),
        "low": round(min(ratios), 1),
        "high": round(max(ratios), 1),
    }
    return summary
