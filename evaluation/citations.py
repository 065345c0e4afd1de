"""The check of sentences: how many planted errors it withholds, how many true sentences, and what it cites.

True sentences are those of clapnq's human-written answers; errors are planted in the first of them (see `planting`).
Each is held against the passages found for its question, and looked up when they do not support it, as in an answer. A
human may also say what no passage found says, so not every true sentence that is withheld is a mistake; and an error
counts only where the sentence that it was planted in is shown. The rules of `claims` were chosen with these answers in
view, and the errors are planted by rules as simple: expect less of errors that models make. A citation is *precise*
when one of the sentences that clapnq's annotators marked overlaps it; *recall* is the share of marked sentences that
some citation overlaps.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from random import Random
from typing import Any

from assistant.answering import LOOKED_UP, RESULTS, open_retriever
from assistant.grounding import Evidence, EvidenceSentence, SentenceVectors
from assistant.progress import ProgressBar
from assistant.retrieval import Retriever
from assistant.sentences import sentence_spans
from assistant.settings import Settings
from assistant.types import Progress, SearchResult
from assistant.words import stems
from evaluation import planting
from evaluation.data import Answered, open_corpus, read_answers
from evaluation.statistics import interval, keep, show

OVERLAP = 0.6
"""Two sentences overlap when so much of the shorter one's content words stand in the other."""
KINDS = ("number", "name", "negation", "swapped", "joined")


class _Check:
    """Holds a sentence against passages as an answer does."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._vectors = SentenceVectors(retriever.embedder)

    def found(self, question: str) -> list[SearchResult]:
        return self._retriever.search(question, RESULTS)

    def support(self, sentence: str, results: Sequence[SearchResult]) -> list[EvidenceSentence]:
        return Evidence(results, self._vectors).support(sentence) or Evidence(
            self._retriever.search(sentence, LOOKED_UP), self._vectors
        ).support(sentence)


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Check the first ``limit`` answers of clapnq; ``data`` is not used, ``seed`` draws the errors."""
    check = _Check(open_retriever(open_corpus(settings)))
    answered = read_answers(limit)
    rng = Random(seed)
    verdicts: dict[str, list[float]] = {"true": [], **{kind: [] for kind in KINDS}}
    precision: list[float] = []
    recall: list[float] = []
    rows: list[dict[str, Any]] = []
    with ProgressBar() as bar:
        for number, one in enumerate(answered):
            bar.show(Progress("Checking", number, len(answered), "answers"))
            results = check.found(one.question)
            cited: list[EvidenceSentence] = []
            shown: dict[str, bool] = {}
            for sentence in _sentences(one.answer):
                support = check.support(sentence, results)
                shown[sentence] = bool(support)
                verdicts["true"].append(float(not support))
                cited += support
                rows.append({"kind": "true", "sentence": sentence, "shown": bool(support)})
            precision += [float(any(_overlap(c.quote, marked) for marked in one.support)) for c in cited]
            recall += [float(any(_overlap(c.quote, marked) for c in cited)) for marked in one.support]
            first = next(iter(shown.values()), False)
            for kind, sentence, evidence in _planted(check, answered, number, results, rng) if first else ():
                support = check.support(sentence, evidence)
                verdicts[kind].append(float(not support))
                rows.append({"kind": kind, "sentence": sentence, "shown": bool(support)})
    errors = [verdict for kind in KINDS for verdict in verdicts[kind]]
    result: dict[str, Any] = {
        "set": "clapnq",
        "seed": seed,
        "answers": len(answered),
        "withheld": {
            "errors": {"sentences": len(errors), "rate": interval(errors, seed)},
            **{kind: {"sentences": len(v), "rate": interval(v, seed)} for kind, v in verdicts.items() if v},
        },
        "citation_precision": interval(precision, seed),
        "citation_recall": interval(recall, seed),
        "rows": rows,
    }
    path = keep("citations", result)
    for kind, value in result["withheld"].items():
        print(f"withheld of {kind:9} {show(value['rate'])} of {value['sentences']}")
    print(f"citation precision {show(result['citation_precision'])}, recall {show(result['citation_recall'])}")
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _planted(
    check: _Check, answered: Sequence[Answered], number: int, results: list[SearchResult], rng: Random
) -> list[tuple[str, str, list[SearchResult]]]:
    """One error of every kind that the first sentence allows: its kind, the sentence, what it is held against."""
    sentences = _sentences(answered[number].answer)
    other = answered[(number + 1) % len(answered)]
    names = [name for one in answered for name in planting.names(one.answer)]
    planted: list[tuple[str, str | None, list[SearchResult]]] = []
    for sentence in sentences[:1]:
        planted += [
            ("number", planting.number(sentence, rng), results),
            ("name", planting.name(sentence, names, rng), results),
            ("negation", planting.negation(sentence, rng), results),
            ("swapped", planting.swapped(sentence, rng), results),
            (
                "joined",
                planting.joined(sentence, _sentences(other.answer)[0]),
                results[: RESULTS // 2] + check.found(other.question)[: RESULTS // 2],
            ),
        ]
    return [(kind, sentence, evidence) for kind, sentence, evidence in planted if sentence]


def _sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def _overlap(one: str, other: str) -> bool:
    a, b = set(stems(one)), set(stems(other))
    return min(len(a), len(b)) >= 3 and len(a & b) / min(len(a), len(b)) >= OVERLAP
