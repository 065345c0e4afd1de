"""Our own questions that find nothing: those that the evidence gate refuses before the model is asked.

For an answerable question that is a hole in the documents, or in their words. Questions to be refused are counted too:
there it is what should happen.
"""

from __future__ import annotations

import sys
from typing import Any

from assistant.pipeline import RESULTS, open_retriever
from assistant.choosing import ENOUGH
from assistant.conversation import standalone
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.grounding import Evidence, SentenceVectors
from assistant.ingestion.builder import build
from assistant.progress import ProgressBar
from assistant.settings import Settings
from assistant.schemas import Progress
from evaluation.data import OWN, read_questions
from evaluation.questions import SEALED
from evaluation.statistics import keep


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Search for the first ``limit`` questions of one half (``data``); those of the sealed half are only counted."""
    half = data or next(iter(OWN))
    with ProgressBar() as bar:
        build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings), bar.show)
        retriever = open_retriever(settings)
        vectors = SentenceVectors(retriever.embedder)
        questions = read_questions(half)[:limit]
        rows: list[dict[str, Any]] = []
        for number, question in enumerate(questions):
            bar.show(Progress("Searching", number, len(questions), "questions"))
            query = standalone(question.text, question.conversation, retriever.nearness)
            results = retriever.search(query, RESULTS)
            strength = Evidence(results, vectors).strength(query)
            rows.append(
                {
                    "id": question.identifier,
                    "kind": question.kind,
                    "topic": question.topic,
                    "question": question.text,
                    "strength": round(strength, 3),
                }
            )
    lost = [row for row in rows if row["strength"] < ENOUGH]
    kinds = sorted({row["kind"] for row in rows})
    counts = {kind: [sum(row["kind"] == kind for row in some) for some in (lost, rows)] for kind in kinds}
    result: dict[str, Any] = {"half": half, "seed": seed, "nothing found, of": counts}
    if half != SEALED:
        result["nothing found"] = [row for row in lost if row["kind"] != "refuse"]
        for row in result["nothing found"]:
            print(f"{row['strength']:.2f} {row['topic']}: {row['question']}")
    print(counts)
    path = keep(f"reach_{half}", result)
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result
