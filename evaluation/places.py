"""In which place the passage is found that holds the facts of a question on our own documents.

With all documents as they are; with each question's own document without the questions beside it
(``*.questions.json``), beside others that have theirs, as when somebody adds documents to those that are here; and
without any questions. In the second case a fifth of the documents loses its questions at a time. No model is asked.
What only several passages hold together is not found here.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assistant.ingestion import expansion
from assistant.pipeline import RESULTS
from assistant.progress import ProgressBar
from assistant.retrieval.builder import build
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.retrieval.hybrid_search import Retriever
from assistant.retrieval.store import KnowledgeIndex
from assistant.settings import Settings
from evaluation.data import OWN, Question, read_questions
from evaluation.questions import SEALED, is_right
from evaluation.statistics import interval, keep, show

HALVES = tuple(half for half in OWN if half != SEALED)
FOLDS = 5


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """The first ``limit`` first turns of the halves that may be looked at, or of one of them (``data``)."""
    halves = [data] if data else list(HALVES)
    asked = [q for half in halves for q in read_questions(half) if q.kind == "answerable" and not q.conversation]
    asked = asked[:limit]
    documents = sorted(settings.knowledge.rglob("*.md"))
    embedder = SentenceEmbedder.from_settings(settings)
    with tempfile.TemporaryDirectory() as folder, ProgressBar() as bar:

        def opened(bare: Sequence[Path]) -> Retriever:
            knowledge = _copied(settings.knowledge, bare, Path(folder) / "knowledge")
            build(knowledge, Path(folder) / "index", embedder, bar.show)
            return Retriever(KnowledgeIndex(Path(folder) / "index", embedder.name), embedder)

        places = {"documents as they are": _places(opened([]), asked)}
        without: list[int] = []
        for fold in range(FOLDS):
            bare = documents[fold::FOLDS]
            topics = {path.stem for path in bare}
            without += _places(opened(bare), [question for question in asked if question.topic in topics])
        places["the document without its questions"] = without
        places["no questions at all"] = _places(opened(documents), asked)
    result: dict[str, Any] = {"halves": halves, "seed": seed, **{n: _summary(some, seed) for n, some in places.items()}}
    path = keep("places", result)
    for name in places:
        told = ", ".join(f"{place} {show(share)}" for place, share in result[name]["facts in"].items())
        print(f"{name}, {result[name]['questions']} questions: {told}")
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _copied(knowledge: Path, bare: Sequence[Path], target: Path) -> Path:
    """A copy of the documents in which those of ``bare`` have no questions."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(knowledge, target)
    for path in bare:
        expansion.sidecar(target / path.relative_to(knowledge)).unlink(missing_ok=True)
    return target


def _places(retriever: Retriever, questions: Sequence[Question]) -> list[int]:
    """Of each question the place of the first passage with the facts, from 0; `RESULTS` where none has them."""
    places = []
    for question in questions:
        found = [result.chunk for result in retriever.search(question.text, RESULTS)]
        holds = [is_right(question, f"{chunk.heading_path} {chunk.text}") for chunk in found]
        places.append(holds.index(True) if any(holds) else RESULTS)
    return places


def _summary(places: Sequence[int], seed: int) -> dict[str, Any]:
    shares = {
        f"the first {first}": interval([float(place < first) for place in places], seed) for first in (1, 3, RESULTS)
    }
    return {"questions": len(places), "facts in": shares}
