"""Records → JSON as the command line prints them, and batch files → questions.

Field names are a contract with other programs: fields may be added, none is renamed or removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from assistant.errors import QuestionError
from assistant.schemas import Answer, Conversation, SearchResult, Turn


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One question of a batch file."""

    identifier: Any
    question: str
    conversation: Conversation


def read_batch(path: Path) -> Iterator[BatchLine]:
    """The questions of a JSON Lines file, ``{"id": …, "question": …, "history": [{"role": …, "content": …}]}``.

    The whole file is checked before the first question is given out.

    Raises:
        QuestionError: the file cannot be read or a line cannot be used; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise QuestionError(f"The batch file {path} cannot be read ({reason}): check its path and encoding.") from error
    return iter([_batch_line(line, path, number) for number, line in enumerate(lines, 1) if line.strip()])


def _batch_line(line: str, path: Path, number: int) -> BatchLine:
    try:
        row = json.loads(line)
        turns = tuple(_turn(turn) for turn in row.get("history") or ())
        if not isinstance(row["question"], str):
            raise TypeError
        return BatchLine(row.get("id", number), row["question"], turns)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise QuestionError(
            f'{path}, line {number}: not {{"id": …, "question": "…", "history": '
            '[{"role": "user" or "assistant", "content": "…"}]}: mend the line.'
        ) from error


def _turn(turn: dict[str, str]) -> Turn:
    if turn["role"] not in {"user", "assistant"} or not isinstance(turn["content"], str):
        raise ValueError
    return Turn(cast(Any, turn["role"]), turn["content"])


def search_json(identifier: Any, query: str, results: list[SearchResult], milliseconds: float) -> dict[str, Any]:
    """A search as the contract has it."""
    return {
        "id": identifier,
        "query": query,
        "results": [
            {
                "document": result.chunk.document,
                "title": result.chunk.title,
                "heading": result.chunk.heading_path,
                "text": result.chunk.text,
                "start_line": result.chunk.start_line,
                "end_line": result.chunk.end_line,
                "page": result.chunk.page,
                "score": round(result.score, 4),
                "similarity": round(result.similarity, 4),
            }
            for result in results
        ],
        "milliseconds": round(milliseconds, 1),
    }


def answer_json(identifier: Any, answer: Answer) -> dict[str, Any]:
    """An answer as the contract has it."""
    return {
        "id": identifier,
        "question": answer.question,
        "query": answer.query,
        "answer": answer.text,
        "refused": answer.refused,
        "citations": [asdict(citation) for citation in answer.citations],
        "withheld": answer.withheld,
        "timings": asdict(answer.timings),
        "suggestions": list(answer.suggestions),
    }
