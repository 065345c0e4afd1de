"""Our own questions: right and cited, or refused where nothing in the documents answers.

An answer is *right* when it holds enough of the facts that its question lists, each in one of several wordings, and
has at least one citation. This is a test of words: answers of the development half are kept beside the verdict, to be
read. Of the sealed half only the counts are told, so that nobody tunes by them. The passage that a question finds is
read before it is asked, as idle time would have read it: what is timed is warm.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import asdict
from threading import Event
from typing import Any

from assistant.pipeline import Assistant
from assistant.progress import ProgressBar
from assistant.query import context
from assistant.retrieval.builder import build
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.schemas import Answer, Progress
from assistant.settings import Settings
from evaluation.data import OWN, Question, read_questions
from evaluation.drawing import draw_topics
from evaluation.statistics import interval, keep, quartiles, show

SEALED = "sealed"


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Ask the questions of one half (``data``), at most ``limit`` of a kind."""
    half = data or next(iter(OWN))
    with ProgressBar() as bar:
        build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings), bar.show)
        assistant = Assistant.from_settings(settings, bar.show)
        asked: list[Question] = []
        for question in read_questions(half):
            if sum(earlier.kind == question.kind for earlier in asked) < limit:
                asked.append(question)
        rows = []
        for number, question in enumerate(asked):
            bar.show(Progress("Asking", number, len(asked), "questions"))
            _read_passage(assistant, question)
            rows.append(_row(question, assistant.ask(question.text, question.conversation)))
    result: dict[str, Any] = {"model": assistant.model.name, "half": half, "seed": seed, **_summary(rows, seed)}
    if half != SEALED:
        result["answers"] = rows
    path = keep(f"questions_{half}", result)
    for group, value in result["groups"].items():
        print(f"{group}: {value['passed']} of {value['questions']}, {show(value['rate'])}")
    print({name: result[name]["median"] for name in ("first_token_ms", "first_sentence_ms", "total_ms")})
    if half == SEALED and importlib.util.find_spec("matplotlib"):
        draw_topics(result["topics"])
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _read_passage(assistant: Assistant, question: Question) -> None:
    """Of a follow-up the model is asked what it means, so that its passage is a guess here."""
    together = context(question.text, question.conversation) if question.conversation else ""
    for result in assistant.retriever.search(question.text, 1, together):
        assistant.prefill(result.chunk, Event())


def is_right(question: Question, text: str) -> bool:
    """Whether ``text`` holds enough of the question's facts."""
    plain = " ".join(text.lower().replace("’", "'").replace("‑", "-").replace("**", "").split()) + " "
    found = sum(any(wording.lower() in f" {plain}" for wording in fact) for fact in question.facts)
    return found >= question.need


def passed(question: Question, answer: Answer) -> bool:
    """Whether the answer is right and cited, or refused where it should be."""
    if question.kind == "refuse":
        return answer.refused
    return not answer.refused and bool(answer.citations) and is_right(question, answer.text)


def _row(question: Question, answer: Answer) -> dict[str, Any]:
    return {
        "id": question.identifier,
        "question": question.text,
        "kind": question.kind,
        "topic": question.topic,
        "passed": passed(question, answer),
        "refused": answer.refused,
        "withheld": answer.withheld,
        "answer": answer.text,
        "cited": [f"{c.document}:{c.start_line}" for c in answer.citations],
        "timings": asdict(answer.timings),
    }


def _by_topic(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Right answers and questions of each topic, without what is to be refused."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row["kind"] != "refuse":
            right, asked = found.get(row["topic"], (0, 0))
            found[row["topic"]] = (right + row["passed"], asked + 1)
    return found


def _summary(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    """By kind, those to refuse also by whether they are near the topic; times are of answered questions."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name = f"{row['kind']} ({row['topic']})" if row["kind"] == "refuse" else row["kind"]
        groups.setdefault(name, []).append(row)
    answered = [row["timings"] for row in rows if row["kind"] != "refuse" and not row["refused"]]
    return {
        "groups": {
            name: {
                "questions": len(group),
                "passed": sum(row["passed"] for row in group),
                "refused": sum(row["refused"] for row in group),
                "rate": interval([float(row["passed"]) for row in group], seed),
            }
            for name, group in groups.items()
        },
        "topics": _by_topic(rows),
        "withheld_sentences": sum(row["withheld"] for row in rows),
        **{
            name: quartiles([timing[name] for timing in answered])
            for name in ("first_token_ms", "first_sentence_ms", "total_ms")
        },
        "fresh_tokens": quartiles([timing["prompt_tokens"] - timing["reused_tokens"] for timing in answered]),
    }
