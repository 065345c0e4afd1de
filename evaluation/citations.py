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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from assistant.pipeline import LOOKED_UP, RESULTS, open_retriever
from assistant.grounding import Evidence, EvidenceSentence, SentenceVectors
from assistant.progress import ProgressBar
from assistant.retrieval.hybrid_search import Retriever
from assistant.ingestion.sentences import sentence_spans
from assistant.settings import Settings
from assistant.schemas import Progress, SearchResult
from assistant.words import stems
from evaluation import planting
from evaluation.data import Answered, open_corpus, read_answers
from evaluation.statistics import interval, keep, show

OVERLAP = 0.6
"""Two sentences overlap when so much of the shorter one's content words stand in the other."""
KINDS = ("number", "name", "negation", "swapped", "joined")


@dataclass(frozen=True, slots=True)
class Checked:
    """One sentence that was held against passages; ``answer`` tells which answer it stands in or was made from.

    Of a true sentence, also whether each of its citations is precise, and after an answer's last sentence whether each
    marked sentence is cited.
    """

    kind: str
    sentence: str
    answer: int
    shown: bool
    precise: tuple[bool, ...] = ()
    recalled: tuple[bool, ...] = ()


class Check:
    """Holds a sentence against passages as an answer does."""

    def __init__(self, retriever: Retriever, vectors: SentenceVectors | None = None) -> None:
        self._retriever = retriever
        self._vectors = vectors or SentenceVectors(retriever.embedder)

    def of(self, answered: Sequence[Answered], seed: int) -> Iterator[Checked]:
        """Every true sentence, and one error of every kind that the first sentence of an answer allows."""
        names = [name for one in answered for name in planting.names(one.answer)]
        for number, one in enumerate(answered):
            # one of its own for each answer: what is withheld of one does not change what is planted in the next
            rng = Random(f"{seed} {number}")
            results = self._retriever.search(one.question, RESULTS)
            sentences = _sentences(one.answer)
            cited: list[EvidenceSentence] = []
            first_shown = False
            for place, sentence in enumerate(sentences):
                support = self._support(sentence, one.question, results)
                first_shown = bool(support) if place == 0 else first_shown
                cited += support
                precise = tuple(any(_overlap(c.quote, marked) for marked in one.support) for c in support)
                is_last = place == len(sentences) - 1
                recalled = tuple(any(_overlap(c.quote, m) for c in cited) for m in one.support) if is_last else ()
                yield Checked("true", sentence, number, bool(support), precise, recalled)
            other = answered[(number + 1) % len(answered)]
            # an error counts only where the sentence that it was planted in is shown
            for kind, sentence in (
                _planted(sentences[0], _sentences(other.answer)[0], names, rng) if first_shown else ()
            ):
                also = self._retriever.search(other.question, RESULTS // 2) if kind == "joined" else []
                evidence = [*results[: RESULTS - len(also)], *also]
                yield Checked(kind, sentence, number, bool(self._support(sentence, one.question, evidence)))

    def _support(self, sentence: str, question: str, results: Sequence[SearchResult]) -> list[EvidenceSentence]:
        return Evidence(results, self._vectors).support(sentence, question) or Evidence(
            self._retriever.search(sentence, LOOKED_UP), self._vectors
        ).support(sentence, question)


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Check the first ``limit`` answers of clapnq; ``data`` is not used, ``seed`` draws the errors."""
    check = Check(open_retriever(open_corpus(settings)))
    answered = read_answers(limit)
    rows: list[Checked] = []
    with ProgressBar() as bar:
        for row in check.of(answered, seed):
            bar.show(Progress("Checking", row.answer, len(answered), "answers"))
            rows.append(row)
    result: dict[str, Any] = {
        "set": "clapnq",
        "seed": seed,
        "answers": len(answered),
        **summary(rows, seed),
        "rows": [{"kind": row.kind, "sentence": row.sentence, "shown": row.shown} for row in rows],
    }
    path = keep("citations", result)
    for kind, value in result["withheld"].items():
        print(f"withheld of {kind:9} {show(value['rate'])} of {value['sentences']}")
    print(f"citation precision {show(result['citation_precision'])}, recall {show(result['citation_recall'])}")
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def summary(rows: Sequence[Checked], seed: int) -> dict[str, Any]:
    """Rates with intervals; sentences of one answer are drawn together."""
    groups = {
        "errors": [row for row in rows if row.kind != "true"],
        **{kind: [row for row in rows if row.kind == kind] for kind in ("true", *KINDS)},
    }
    precise = [(float(value), row.answer) for row in rows for value in row.precise]
    recalled = [(float(value), row.answer) for row in rows for value in row.recalled]
    return {
        "withheld": {
            kind: {"sentences": len(some), "rate": _rate([(float(not row.shown), row.answer) for row in some], seed)}
            for kind, some in groups.items()
            if some
        },
        "citation_precision": _rate(precise, seed),
        "citation_recall": _rate(recalled, seed),
    }


def _rate(values: Sequence[tuple[float, int]], seed: int) -> dict[str, float]:
    return interval([value for value, _ in values], seed, [answer for _, answer in values])


def _planted(sentence: str, other: str, names: Sequence[str], rng: Random) -> list[tuple[str, str]]:
    """One error of every kind that the sentence allows: its kind, and the sentence with it."""
    planted = {
        "number": planting.number(sentence, rng),
        "name": planting.name(sentence, names, rng),
        "negation": planting.negation(sentence, rng),
        "swapped": planting.swapped(sentence, rng),
        "joined": planting.joined(sentence, other),
    }
    return [(kind, changed) for kind, changed in planted.items() if changed]


def _sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def _overlap(one: str, other: str) -> bool:
    a, b = set(stems(one)), set(stems(other))
    return min(len(a), len(b)) >= 3 and len(a & b) / min(len(a), len(b)) >= OVERLAP
