"""Our own questions: right and cited, or refused where nothing in the documents answers.

An answer is *right* when it holds enough of the facts that its question lists, each in one of several wordings, and
has at least one citation. This is a test of words: answers are kept beside the verdict, to be read.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from assistant.answering import Assistant
from assistant.embedding import SentenceEmbedder
from assistant.indexing import build
from assistant.progress import ProgressBar
from assistant.settings import Settings
from assistant.types import Answer
from evaluation.data import Question, read_questions
from evaluation.statistics import interval, keep, show


def run(settings: Settings, limit: int, seed: int) -> dict[str, Any]:
    """Ask all questions (at most ``limit`` of a kind)."""
    with ProgressBar() as bar:
        build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings), bar.show)
        assistant = Assistant.from_settings(settings, bar.show)
    rows = []
    for kind in ("answerable", "refuse"):
        for question in [q for q in read_questions() if q.kind == kind][:limit]:
            answer = assistant.ask(question.text)
            rows.append(_row(question, answer))
            print(f"{'ok ' if rows[-1]['passed'] else 'NO '} {question.identifier} {question.text}", file=sys.stderr)
    result = {"model": assistant.model.name, "seed": seed, **_summary(rows, seed), "answers": rows}
    path = keep("questions", result)
    for kind in ("answerable", "refuse"):
        if kind in result:
            print(f"{kind}: {result[kind]['passed']} of {result[kind]['questions']}, {show(result[kind]['rate'])}")
    print(f"Answers and verdicts are in {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def is_right(question: Question, text: str) -> bool:
    """Whether ``text`` holds enough of the question's facts."""
    plain = " ".join(text.lower().replace("’", "'").replace("‑", "-").replace("**", "").split()) + " "
    found = sum(any(wording.lower() in f" {plain}" for wording in fact) for fact in question.facts)
    return found >= question.need


def _row(question: Question, answer: Answer) -> dict[str, Any]:
    if question.kind == "refuse":
        passed = answer.refused
    else:
        passed = not answer.refused and bool(answer.citations) and is_right(question, answer.text)
    return {
        "id": question.identifier,
        "question": question.text,
        "kind": question.kind,
        "passed": passed,
        "refused": answer.refused,
        "withheld": answer.withheld,
        "answer": answer.text,
        "cited": [f"{c.document}:{c.start_line}" for c in answer.citations],
        "timings": asdict(answer.timings),
    }


def _summary(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    summary = {}
    for kind in ("answerable", "refuse"):
        passed = [float(row["passed"]) for row in rows if row["kind"] == kind]
        if passed:
            summary[kind] = {"questions": len(passed), "passed": int(sum(passed)), "rate": interval(passed, seed)}
    return summary
