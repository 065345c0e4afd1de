"""What a reader is shown, beside what the same model writes when it is simply given three passages.

The plain baseline: the three passages nearest to the question by the same embedder, a short order, greedy, at most 80
tokens, the prompt read in full, nothing checked. Both get the same questions in the same run. On nq an answer is right
when its first `MAX_WORDS` words hold a gold answer; on clapnq, whose gold answers are long, it is told how much of the
nearest one these hold, in order (ROUGE-L recall). A refusal is neither right nor recalls anything. Groundwork may show
several sentences where the baseline writes one, so words are told too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from assistant.pipeline import Assistant
from assistant.progress import ProgressBar
from assistant.settings import Settings
from assistant.schemas import Embedder, Message, Progress
from evaluation.answers import MAX_WORDS, is_right, kept_answers
from evaluation.data import SETS, gold_answers, open_corpus, read_corpus, read_queries
from evaluation.statistics import interval, keep, show

COMPARED = ("nq", "clapnq")
PASSAGES = 3
REFUSED = "Not in the documents."
ORDER = (
    f"Answer the question using only the passages. If the passages do not contain the answer, reply exactly: {REFUSED}"
)
"""Fixed, as the whole baseline is: it does not follow what the assistant's own prompt says."""
_CITATION = re.compile(r" (?:\[\d+\])+")


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Ask the first ``limit`` questions of one set (``data``) or of both."""
    settings = open_corpus(settings)
    result: dict[str, Any] = {"model": settings.model, "seed": seed, "sets": {}}
    with ProgressBar() as bar:
        assistant = Assistant.from_settings(settings, bar.show)
        kept = kept_answers(assistant.model)
        passages = Passages(assistant.embedder)
        for name in [data] if data else COMPARED:
            rows: list[dict[str, Any]] = []
            gold = gold_answers(name)
            for query in read_queries(name, limit):
                bar.show(Progress(f"Asking {name}", len(rows), unit="questions"))
                plain = kept.answered(plain_prompt(query.text, passages.nearest(query.text)))["answer"]
                answer = assistant.ask(query.text)
                shown = "" if answer.refused else _CITATION.sub("", answer.text)
                plain = "" if plain.strip(" .").lower() == REFUSED.strip(" .").lower() else plain
                rows.append({"id": query.identifier, **_judged(name, gold[query.identifier], shown, plain)})
            result["sets"][name] = {**_summary(rows, seed), "rows": rows}
    path = keep("plain", result)
    for name, told in result["sets"].items():
        print(
            f"{name}, {told['questions']} questions: shown {show(told['of_shown'])}, plain {show(told['of_plain'])}, "
            f"difference {show(told['difference'])}; refused {told['refused_shown']} and {told['refused_plain']}; "
            f"words {told['words_shown']:.0f} and {told['words_plain']:.0f}"
        )
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


class Passages:
    """The passages of all sets, and those nearest to a question: the dense baseline, without an index."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._lines: list[str] = []
        texts = []
        for name in SETS:
            for row in read_corpus(name):
                self._lines.append(f"- {row['title']}: {row['text']}")
                texts.append(f"{row['title']}. {row['text']}")
        self._vectors = embedder.embed(texts)

    def nearest(self, question: str) -> list[str]:
        """The `PASSAGES` nearest, one line each, the nearest first."""
        cosines = self._vectors @ self._embedder.embed([question])[0]
        return [self._lines[place] for place in np.argsort(-cosines, kind="stable")[:PASSAGES]]


def plain_prompt(question: str, lines: Sequence[str]) -> list[Message]:
    """The baseline's prompt; no part of it is marked as a passage, so that it is read from beginning to end."""
    asked = "\n".join(["Passages:", *lines, "", f"Question: {question}"])
    return [Message("system", (ORDER,)), Message("user", (asked,))]


def recall(text: str, gold: str) -> float:
    """ROUGE-L recall: the share of ``gold``'s words that ``text`` holds in the same order."""
    said, wanted = (re.findall(r"\w+", some.lower()) for some in (text, gold))
    longest = np.zeros(len(said) + 1, int)
    for word in wanted:
        before = longest.copy()
        for place, other in enumerate(said, 1):
            longest[place] = before[place - 1] + 1 if other == word else max(before[place], longest[place - 1])
    return float(longest[-1]) / max(1, len(wanted))


def _judged(name: str, gold: Sequence[str], shown: str, plain: str) -> dict[str, Any]:
    return {
        "shown": shown,
        "plain": plain,
        "of_shown": _score(name, gold, shown),
        "of_plain": _score(name, gold, plain),
    }


def _score(name: str, gold: Sequence[str], text: str) -> float:
    beginning = " ".join(text.split()[:MAX_WORDS])
    if name == "nq":
        return float(is_right(beginning, gold))
    return max(recall(beginning, answer) for answer in gold)


def _summary(rows: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    return {
        "questions": len(rows),
        "of_shown": interval([row["of_shown"] for row in rows], seed),
        "of_plain": interval([row["of_plain"] for row in rows], seed),
        "difference": interval([row["of_shown"] - row["of_plain"] for row in rows], seed),
        "refused_shown": sum(not row["shown"] for row in rows),
        "refused_plain": sum(not row["plain"] for row in rows),
        "words_shown": float(np.mean([len(row["shown"].split()) for row in rows if row["shown"]] or [0])),
        "words_plain": float(np.mean([len(row["plain"].split()) for row in rows if row["plain"]] or [0])),
    }
