"""Reads `evaluation/data/` and the questions and claims beside it; knows nothing of what is measured."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assistant.progress import ProgressBar
from assistant.retrieval.builder import build
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.schemas import Conversation, Turn
from assistant.settings import Settings

FOLDER = Path(__file__).parent
SETS = ("clapnq", "nq", "mtrag_un")
OWN = {
    "development": "questions.jsonl",
    "strangers": "questions_strangers.jsonl",
    "sealed": "questions_sealed.jsonl",
}
"""Our own questions: those that may be looked at, the first and, in strangers' words, later ones; and those that tuning
never reads."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question with the documents that answer it (file name → relevance)."""

    identifier: str
    text: str
    conversation: Conversation
    relevant: dict[str, int]


@dataclass(frozen=True, slots=True)
class Question:
    """A question on our own documents. An answer is right when at least ``need`` of ``facts`` are in it.

    A fact is a tuple of wordings, any of which counts.
    """

    identifier: str
    text: str
    topic: str
    kind: str
    facts: tuple[tuple[str, ...], ...]
    need: int
    conversation: Conversation = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, and whether a document supports it."""

    document: str
    text: str
    is_supported: bool


def read_queries(name: str, limit: int = 600) -> list[Query]:
    """The answerable queries of a set that have relevant documents, by identifier, the first ``limit``."""
    relevant: dict[str, dict[str, int]] = {}
    with (FOLDER / "data" / name / "qrels.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            relevant.setdefault(row["query-id"], {})[file_name(name, row["corpus-id"])] = int(row["score"])
    rows = _rows(FOLDER / "data" / name / "queries.jsonl")
    answerable = [
        row
        for row in rows
        if row["_id"] in relevant
        and row.get("answerable", True)
        and row.get("answerability", "ANSWERABLE") == "ANSWERABLE"
    ]
    answerable.sort(key=lambda row: str(row["_id"]))
    return [Query(row["_id"], row["text"], _conversation(row), relevant[row["_id"]]) for row in answerable[:limit]]


def gold_answers(name: str) -> dict[str, list[str]]:
    """The gold answers to each question of nq, by its identifier."""
    return {row["_id"]: row["answers"] for row in _rows(FOLDER / "data" / name / "queries.jsonl")}


def write_claims(folder: Path) -> list[Claim]:
    """Claims by hand, true and false; the documents that they are held against are written into ``folder``."""
    rows = _rows(FOLDER / "claims.jsonl")
    (folder / "claims").mkdir(parents=True, exist_ok=True)
    for row in rows:
        (folder / "claims" / f"{row['document']}.md").write_text(f"# {row['title']}\n\n{row['evidence']}\n", "utf-8")
    return [Claim(f"claims/{row['document']}.md", row["claim"], row["supported"]) for row in rows]


def read_corpus(name: str) -> list[dict[str, Any]]:
    """The passages of a set, each with its ``_id``, ``title`` and ``text``."""
    return _rows(FOLDER / "data" / name / "corpus.jsonl")


def write_corpus(folder: Path, wanted: Collection[str] = (), others: int | None = None) -> None:
    """All three corpora as one knowledge folder of Markdown files; or those ``wanted`` and the first others of each."""
    for name in SETS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(read_corpus(name)):
            if others is not None and number >= others and file_name(name, row["_id"]) not in wanted:
                continue
            heading = f"# {row['title']}\n\n" if row["title"] else ""
            (folder / file_name(name, row["_id"])).write_text(heading + row["text"], encoding="utf-8")


def open_corpus(settings: Settings) -> Settings:
    """All three corpora, written and indexed in the cache folder: the settings that search them."""
    folder = settings.cache / "evaluation"
    settings = replace(settings, knowledge=folder / "corpus", index=folder / "index")
    write_corpus(settings.knowledge)
    with ProgressBar() as bar:
        build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings), bar.show)
    return settings


def file_name(name: str, identifier: str) -> str:
    """The file that `write_corpus` makes of a document."""
    return f"{name}/{re.sub(r'[^A-Za-z0-9_.-]', '_', identifier)}.md"


def read_questions(half: str) -> list[Question]:
    """Our own questions, of one half of `OWN`."""
    return [
        Question(
            identifier=row["id"],
            text=row["question"],
            topic=row["topic"],
            kind=row["kind"],
            facts=tuple(map(tuple, row["facts"])),
            need=row["need"],
            conversation=_conversation(row),
        )
        for row in _rows(FOLDER / OWN[half])
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _conversation(row: dict[str, Any]) -> Conversation:
    turns = [turn.values() if isinstance(turn, dict) else turn for turn in row.get("history", ())]
    return tuple(Turn("user" if role == "user" else "assistant", text) for role, text in turns)
