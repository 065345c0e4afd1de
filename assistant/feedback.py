"""Likes and dislikes, in a small SQLite file in the cache folder.

A row holds the time, the verdict and the documents that were cited. It holds question and answer only if the owner
switched that on (``ASSISTANT_KEEP_QUESTIONS=1``). This module does not know who gave the verdict.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from assistant.errors import AssistantError

COLUMNS = ("time", "verdict", "documents", "question", "answer")
_TABLE = """
CREATE TABLE IF NOT EXISTS feedback (time REAL NOT NULL, verdict TEXT NOT NULL, documents TEXT NOT NULL,
    question TEXT, answer TEXT)
"""


class FeedbackStore:
    """Writes verdicts; the file is made with the first one."""

    def __init__(self, cache: Path, keep_questions: bool) -> None:
        self.path = cache / "feedback.sqlite"
        self._keep_questions = keep_questions

    def record(self, verdict: str, documents: Sequence[str], question: str, answer: str) -> None:
        """Keep one verdict (``like``, ``dislike`` or ``none`` when it was taken back)."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = (question, answer) if self._keep_questions else (None, None)
        with closing(sqlite3.connect(self.path, timeout=5.0)) as database, database:
            database.execute(_TABLE)
            row = (time.time(), verdict, json.dumps(list(documents)), *kept)
            database.execute("INSERT INTO feedback VALUES (?, ?, ?, ?, ?)", row)

    def verdicts(self) -> Iterator[dict[str, str | None]]:
        """What was recorded, in the order in which it came, with the documents separated by spaces and the time in UTC.

        Raises:
            AssistantError: the file cannot be read.
        """
        if not self.path.is_file():
            return
        try:
            with closing(sqlite3.connect(self.path, timeout=5.0)) as database:
                # not by time: a clock that was set back would put a verdict before the one that it takes back
                rows = database.execute("SELECT * FROM feedback ORDER BY rowid").fetchall()
        except sqlite3.Error as error:
            raise AssistantError(f"{self.path} cannot be read ({error}): move it away, a new one is begun.") from error
        for seconds, verdict, documents, question, answer in rows:
            when = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
            cited = " ".join(json.loads(documents))
            yield dict(zip(COLUMNS, (when, verdict, cited, question, answer), strict=True))


def as_cell(value: str | None) -> str:
    """Text that a spreadsheet takes as text: what could begin a formula gets an apostrophe before it."""
    return f"'{value}" if value and value[0] in "=+-@\t\r\n" else value or ""
