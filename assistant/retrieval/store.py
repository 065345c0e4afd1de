"""The folder ``index/``: its files, and how they are read.

SQLite holds documents, chunks, the vectors of their tokens and a full-text table; a FAISS file beside it holds one
vector of each chunk and of each question of its expansion. The FAISS file is named by generation, and the manifest in
SQLite says which generation counts. A reader works inside one SQLite snapshot and loads the FAISS file that this
snapshot names, so a running server takes up a new generation with its next question and never sees a mixture.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from assistant.errors import KnowledgeIndexError
from assistant.schemas import Chunk, Document, Encoding, Integers, Vectors

SCHEMA = 3
DATABASE = "index.sqlite"
HEADING_WEIGHT = 3.0
"""What a word in a title or heading counts for, beside one in the text or in a question of the expansion."""
PRIOR = 1000
"""Chunks of other texts that are counted beside those of the index."""
AT_ONCE = 500
"""Rows that one query fetches."""
_REBUILD = "run `python -m assistant index` to build it again."


class KnowledgeIndex:
    """An index that can be searched; safe to share between threads.

    Args:
        folder: the index folder.
        embedder: name of the embedder whose vectors are wanted.

    Raises:
        KnowledgeIndexError: it is missing, damaged, or made by another version or embedder.
    """

    def __init__(self, folder: Path, embedder: str) -> None:
        self._folder = folder
        self._embedder = embedder
        self._lock = Lock()
        self._generation = ""
        self._store: Any = None
        self._rarity = np.zeros(0, np.float32)
        with self.snapshot():
            pass  # what is wrong with the index is said now, not at the first question

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One generation, unchanging while the block runs, whatever a builder does meanwhile."""
        path = self._folder / DATABASE
        if not path.is_file():
            raise KnowledgeIndexError(f"There is no index in {self._folder}: run `python -m assistant index` first.")
        try:
            with connection(path) as database:
                database.execute("BEGIN")
                manifest = read_manifest(database)
                self._check(manifest)
                yield Snapshot(database, *self._loaded(manifest["generation"], database))
        except sqlite3.DatabaseError as error:
            raise KnowledgeIndexError(f"The index {path} cannot be read ({error}): {_REBUILD}") from error

    def _check(self, manifest: dict[str, str]) -> None:
        for key, wanted in (("schema", str(SCHEMA)), ("embedder", self._embedder)):
            if manifest.get(key) != wanted:
                raise KnowledgeIndexError(
                    f"The index in {self._folder} was made with {key} {manifest.get(key, 'unknown')}, "
                    f"not {wanted}: {_REBUILD}"
                )

    def _loaded(self, generation: str, database: sqlite3.Connection) -> tuple[Any, Vectors]:
        with self._lock:
            if generation != self._generation:
                path = self._folder / vector_name(generation)
                store = read_vectors(path)
                rows = database.execute("SELECT count(*) FROM vectors").fetchone()[0]
                if store.ntotal != rows:
                    raise KnowledgeIndexError(f"{path} holds {store.ntotal} vectors, not {rows}: {_REBUILD}")
                self._store, self._rarity, self._generation = store, _rarity(database, self._embedder), generation
            return self._store, self._rarity


def _rarity(database: sqlite3.Connection, embedder: str) -> Vectors:
    """The inverse document frequency of every token up to the highest that is known: ``log(1 + chunks / (df + 1))``.

    A small folder says little of how rare a word is. So chunks of other texts are counted too, as many as `PRIOR`,
    where the embedder is the one that they were counted with.
    """
    rows = [np.unique(np.frombuffer(ids, np.int32)) for (ids,) in database.execute("SELECT ids FROM tokens")]
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *rows])).astype(np.float32)
    total = float(len(rows))
    prior = _prior()
    if prior["embedder"] == embedder:
        known = np.array(prior["per thousand"], np.float32) * PRIOR / 1000
        counts = np.pad(counts, (0, max(0, len(known) - len(counts))))
        counts[: len(known)] += known
        total += PRIOR
    return np.asarray(np.log1p(total / (counts + 1)), np.float32)


@cache
def _prior() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(
        files("assistant.retrieval").joinpath("token_frequencies.json").read_text(encoding="utf-8")
    )
    return stored


@dataclass(frozen=True, slots=True)
class Topic:
    """What a document is about, without its text."""

    path: str
    title: str
    summary: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation of the index, to be used only inside `KnowledgeIndex.snapshot`."""

    database: sqlite3.Connection
    store: Any
    rarity: Vectors
    """Inverse document frequency by token."""

    def rarities(self, ids: Integers) -> Vectors:
        """The inverse document frequency of each of these tokens; of one that no chunk has, the highest there is."""
        if not len(self.rarity):
            return np.ones(len(ids), np.float32)
        known = ids < len(self.rarity)
        return np.asarray(np.where(known, self.rarity[np.where(known, ids, 0)], self.rarity.max()), np.float32)

    def nearest(self, vector: Vectors, limit: int) -> dict[int, float]:
        """Chunk identifiers and cosines of the ``limit`` chunks nearest to ``vector`` (shape ``(dimension,)``)."""
        limit = min(limit, self.store.ntotal)
        if not limit:
            return {}
        if self.store.d != len(vector):
            raise KnowledgeIndexError(f"The vectors of the index have {self.store.d} dimensions, not {len(vector)}.")
        # a chunk has a vector of its own and one of each question of its expansion, however many these are
        count = limit
        while True:
            similarities, rows = self.store.search(vector[None], min(count, self.store.ntotal))
            identifiers = self._identifiers([int(row) for row in rows[0] if row >= 0])
            found: dict[int, float] = {}
            for row, similarity in zip(rows[0], similarities[0], strict=True):  # nearest first
                if row >= 0:
                    found.setdefault(identifiers[int(row)], float(similarity))
            if len(found) >= limit or count >= self.store.ntotal:
                return dict(list(found.items())[:limit])
            count *= 4

    def likenesses(self, identifiers: Sequence[int], vector: Vectors) -> dict[int, Vectors]:
        """The cosines to ``vector`` of each chunk: that of the chunk itself, then those of its expansion."""
        marks = ",".join("?" * len(identifiers))
        rows = self.database.execute(
            f"SELECT chunk, row FROM vectors WHERE chunk IN ({marks}) ORDER BY chunk, row", list(identifiers)
        ).fetchall()
        if not rows:
            return {}
        cosines: Vectors = self.store.reconstruct_batch([row for _, row in rows]) @ vector
        found: dict[int, Vectors] = {}
        start = 0
        for identifier, count in Counter(identifier for identifier, _ in rows).items():
            found[identifier] = cosines[start : start + count]
            start += count
        return found

    def full_text(self, match: str, limit: int) -> dict[int, float]:
        """Chunk identifiers and BM25 scores (higher is better) for an FTS5 query."""
        if not match:
            return {}
        rows = self.database.execute(
            "SELECT rowid, -bm25(chunks_text, :headings) AS score FROM chunks_text"
            " WHERE chunks_text MATCH :match ORDER BY score DESC LIMIT :limit",
            {"headings": HEADING_WEIGHT, "match": match, "limit": limit},
        )
        return dict(rows)

    def encodings(self, identifiers: Sequence[int]) -> dict[int, Encoding]:
        """The encodings of the chunks of these identifiers."""
        marks = ",".join("?" * len(identifiers))
        rows = self.database.execute(
            "SELECT chunk, min(row), ids, spans, token_vectors FROM tokens JOIN vectors USING (chunk)"
            f" WHERE chunk IN ({marks}) GROUP BY chunk",
            list(identifiers),
        ).fetchall()
        return {
            chunk: Encoding(
                vector=self.store.reconstruct(row),
                ids=np.frombuffer(ids, np.int32),
                spans=np.frombuffer(spans, np.int32).reshape(-1, 2),
                tokens=np.frombuffer(vectors, np.int8).reshape(-1, self.store.d),
            )
            for chunk, row, ids, spans, vectors in rows
        }

    def identifiers_of(self, path: str) -> list[int]:
        """The chunks of one document, in the order of the text."""
        rows = self.database.execute("SELECT id FROM chunks WHERE document = ? ORDER BY offset", (path,))
        return [identifier for (identifier,) in rows]

    def chunks(self, identifiers: Sequence[int]) -> dict[int, Chunk]:
        """The chunks of these identifiers."""
        marks = ",".join("?" * len(identifiers))
        rows = self.database.execute(
            "SELECT chunks.id, path, title, headings, chunks.text, start_line, end_line, page, offset"
            f" FROM chunks JOIN documents ON path = document WHERE chunks.id IN ({marks})",
            list(identifiers),
        )
        return {
            identifier: Chunk(path, title, tuple(json.loads(headings)), *rest)
            for identifier, path, title, headings, *rest in rows
        }

    def all_chunks(self) -> Iterator[Chunk]:
        """Every chunk, document by document, in the order of the text."""
        rows = self.database.execute("SELECT id FROM chunks ORDER BY document, offset").fetchall()
        for start in range(0, len(rows), AT_ONCE):
            yield from self._in_order(rows[start : start + AT_ONCE])

    def chunks_of(self, paths: Sequence[str], limit: int) -> list[Chunk]:
        """The first ``limit`` chunks of these documents, in the order of the text."""
        marks = ",".join("?" * len(paths))
        rows = self.database.execute(
            f"SELECT id FROM chunks WHERE document IN ({marks}) ORDER BY document, offset LIMIT ?", [*paths, limit]
        )
        return self._in_order(rows.fetchall())

    def document(self, path: str) -> Document | None:
        """The document of this relative path."""
        row = self.database.execute(
            "SELECT path, title, summary, text, body_line, digest FROM documents WHERE path = ?", (path,)
        ).fetchone()
        return Document(*row) if row else None

    def topics(self) -> dict[str, list[Topic]]:
        """The documents by the path of their folder ("" for none), in the order of their paths."""
        found: dict[str, list[Topic]] = {}
        for path, title, summary in self.database.execute("SELECT path, title, summary FROM documents ORDER BY path"):
            found.setdefault(path.rpartition("/")[0], []).append(Topic(path, title, summary))
        return found

    def counts(self) -> tuple[int, int]:
        """How many documents and chunks there are."""
        row: tuple[int, int] = self.database.execute(
            "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM chunks)"
        ).fetchone()
        return row

    def _in_order(self, rows: Sequence[tuple[int]]) -> list[Chunk]:
        """The chunks of these rows of one identifier each."""
        identifiers = [identifier for (identifier,) in rows]
        found = self.chunks(identifiers)
        return [found[identifier] for identifier in identifiers]

    def _identifiers(self, rows: Sequence[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            found |= dict(self.database.execute(f"SELECT row, chunk FROM vectors WHERE row IN ({marks})", list(some)))
        return found


def vector_name(generation: str) -> str:
    """The FAISS file of a generation."""
    return f"vectors-{generation}.faiss"


def read_vectors(path: Path) -> Any:
    """Load a FAISS file.

    Raises:
        KnowledgeIndexError: it is missing or damaged.
    """
    import faiss

    try:
        return faiss.deserialize_index(np.frombuffer(path.read_bytes(), np.uint8))
    except (OSError, RuntimeError, AssertionError) as error:
        raise KnowledgeIndexError(f"The index file {path} is missing or damaged: {_REBUILD}") from error


def read_manifest(database: sqlite3.Connection) -> dict[str, str]:
    """What the index says of itself; empty when it was never built."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'manifest'").fetchone():
        return {}
    return dict(database.execute("SELECT key, value FROM manifest"))


@contextmanager
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that begins and commits only when told to, and rolls back what was left open."""
    database = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        yield database
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
        database.close()
