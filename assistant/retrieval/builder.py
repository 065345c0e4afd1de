"""Builds and updates the folder ``index/``: only new and changed documents are chunked and embedded.

Everything happens in one SQLite transaction. The new vectors are written to a file of their own before the
transaction names their generation and commits, so a kill at any moment leaves the old index or the new one.
This module does not know how the index is searched.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import KnowledgeError, KnowledgeIndexError
from assistant.ingestion import chunker, expansion
from assistant.ingestion.loaders import read_folder
from assistant.retrieval.store import DATABASE, SCHEMA, connection, read_manifest, read_vectors, vector_name
from assistant.schemas import Document, Embedder, Progress, Skipped, Vectors

FLAT_LIMIT = 100_000
"""Up to so many vectors are searched exactly (FAISS flat); above, through a graph (HNSW)."""
EMBED_AT_ONCE = 64

_TABLES = """
CREATE TABLE manifest (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE documents (path TEXT PRIMARY KEY, title TEXT NOT NULL, summary TEXT NOT NULL, digest TEXT NOT NULL,
    body_line INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE chunks (id INTEGER PRIMARY KEY, document TEXT NOT NULL, headings TEXT NOT NULL, text TEXT NOT NULL,
    start_line INTEGER NOT NULL, end_line INTEGER NOT NULL, page INTEGER, offset INTEGER NOT NULL);
CREATE INDEX chunks_document ON chunks (document);
CREATE TABLE tokens (chunk INTEGER PRIMARY KEY, ids BLOB NOT NULL, spans BLOB NOT NULL, token_vectors BLOB NOT NULL);
CREATE TABLE vectors (row INTEGER PRIMARY KEY, chunk INTEGER NOT NULL);
CREATE INDEX vectors_chunk ON vectors (chunk);
CREATE VIRTUAL TABLE chunks_text USING fts5 (headings, text, questions,
    tokenize = 'porter unicode61 remove_diacritics 2');
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What a build did: counts of documents, and every file that was skipped."""

    documents: int
    chunks: int
    added: int
    updated: int
    removed: int
    unchanged: int
    skipped: tuple[Skipped, ...]
    seconds: float


def build(
    knowledge: Path, index: Path, embedder: Embedder, progress: Callable[[Progress], None] = lambda _: None
) -> Report:
    """Bring ``index`` up to date with ``knowledge``: only new and changed documents are cut and embedded.

    Raises:
        KnowledgeError: the folder is missing or holds no document that can be read; an index that was there stays.
        KnowledgeIndexError: the index folder cannot be written, or another process is building.
    """
    started = time.monotonic()
    documents, skipped = _read(knowledge)
    make = _make(embedder)
    try:
        index.mkdir(parents=True, exist_ok=True)
        _discard_if_damaged(index)
        with connection(index / DATABASE) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("BEGIN IMMEDIATE")
            counts = _update(database, index, documents, embedder, make, progress)
            database.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise _cannot_write(index, error) from error
    seconds = time.monotonic() - started
    return Report(**counts, documents=len(documents), skipped=tuple(skipped), seconds=seconds)


def _read(knowledge: Path) -> tuple[dict[str, Document], list[Skipped]]:
    documents: dict[str, Document] = {}
    skipped: list[Skipped] = []
    for item in read_folder(knowledge):
        if isinstance(item, Document):
            documents[item.path] = item
        else:
            skipped.append(item)
    if not documents:
        why = f" Skipped: {'; '.join(f'{s.path}: {s.reason}' for s in skipped[:3])}." if skipped else ""
        raise KnowledgeError(
            f"The knowledge folder {knowledge} holds no document that can be read.{why} "
            "Put Markdown (.md) or text (.txt) files in UTF-8 into it and try again."
        )
    return documents, skipped


def _update(
    database: sqlite3.Connection,
    index: Path,
    documents: dict[str, Document],
    embedder: Embedder,
    make: dict[str, str],
    progress: Callable[[Progress], None],
) -> dict[str, int]:
    manifest = read_manifest(database)
    old_vectors = None
    if {key: manifest.get(key) for key in make} == make:
        old_vectors = _stored_vectors(index, manifest, database)
    if old_vectors is None:
        _recreate(database)
    known = dict(database.execute("SELECT path, digest FROM documents"))
    removed = [path for path in known if path not in documents]
    changed = [path for path, document in documents.items() if known.get(path) != document.digest]
    counts = {
        "chunks": 0,
        "added": sum(path not in known for path in changed),
        "updated": sum(path in known for path in changed),
        "removed": len(removed),
        "unchanged": len(documents) - len(changed),
    }
    if removed or changed or old_vectors is None:
        for path in [*removed, *changed]:
            _delete(database, path)
        kept = database.execute("SELECT row FROM vectors ORDER BY row").fetchall()
        vectors = [old_vectors[[row for (row,) in kept]]] if old_vectors is not None and kept else []
        _renumber(database)
        new = [text for path in changed for text in _insert(database, documents[path], embedder)]
        vectors += _embedded(database, new, embedder, progress)
        # a random name: no reader can mistake the new vectors for those it has, even after `rm -rf index`
        generation, previous = secrets.token_hex(8), manifest.get("generation", "")
        _write_vectors(index / vector_name(generation), np.vstack(vectors))
        _write_manifest(database, {**make, "generation": generation})
        _remove_old_vectors(index, keep={vector_name(generation), vector_name(previous)})
    counts["chunks"] = database.execute("SELECT count(*) FROM chunks").fetchone()[0]
    return counts


def _make(embedder: Embedder) -> dict[str, str]:
    """What must be the same for old chunks and vectors to be of use."""
    return {
        "schema": str(SCHEMA),
        "chunking": str(chunker.VERSION),
        "embedder": embedder.name,
        "dimension": str(embedder.dimension),
        "max_tokens": str(embedder.max_tokens),
    }


def _insert(database: sqlite3.Connection, document: Document, embedder: Embedder) -> Iterator[tuple[int | None, str]]:
    """Store a document, its chunks and its expansion.

    Yields:
        What is to be embedded, in the order of the rows: a chunk's identifier with its text, or ``None`` with a
        question of the expansion.
    """
    d = document
    database.execute(
        "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?)", (d.path, d.title, d.summary, d.digest, d.body_line, d.text)
    )
    # two special tokens frame every text that the embedder reads
    chunks = chunker.split_document(document, embedder.count, embedder.max_tokens - 2)
    for chunk, asked in zip(chunks, expansion.questions(chunks, d.expansion), strict=True):
        cursor = database.execute(
            "INSERT INTO chunks (document, headings, text, start_line, end_line, page, offset)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                chunk.document,
                json.dumps(chunk.headings),
                chunk.text,
                chunk.start_line,
                chunk.end_line,
                chunk.page,
                chunk.offset,
            ),
        )
        database.execute(
            "INSERT INTO chunks_text (rowid, headings, text, questions) VALUES (?, ?, ?, ?)",
            (cursor.lastrowid, chunk.heading_path, chunk.text, "\n".join(asked)),
        )
        for identifier, text in ((cursor.lastrowid, chunk.embedding_text), *((None, question) for question in asked)):
            database.execute(
                "INSERT INTO vectors VALUES ((SELECT ifnull(max(row), -1) + 1 FROM vectors), ?)", (cursor.lastrowid,)
            )
            yield identifier, text


def _delete(database: sqlite3.Connection, path: str) -> None:
    for table, key in (("chunks_text", "rowid"), ("vectors", "chunk"), ("tokens", "chunk")):
        database.execute(f"DELETE FROM {table} WHERE {key} IN (SELECT id FROM chunks WHERE document = ?)", (path,))
    database.execute("DELETE FROM chunks WHERE document = ?", (path,))
    database.execute("DELETE FROM documents WHERE path = ?", (path,))


def _renumber(database: sqlite3.Connection) -> None:
    """Give the vectors that stay the rows 0, 1, 2, …, in their old order."""
    rows = database.execute("SELECT row FROM vectors ORDER BY row").fetchall()
    # upwards, so that the new number of each is free
    database.executemany("UPDATE vectors SET row = ? WHERE row = ?", [(new, old) for new, (old,) in enumerate(rows)])


def _embedded(
    database: sqlite3.Connection,
    new: Sequence[tuple[int | None, str]],
    embedder: Embedder,
    progress: Callable[[Progress], None],
) -> list[Vectors]:
    """The vectors of the new texts in their order, as a list of one array; those of chunks' tokens are stored."""
    # short texts go first, so that few are padded
    order = sorted(range(len(new)), key=lambda i: len(new[i][1]))
    vectors = np.zeros((len(new), embedder.dimension), np.float32)
    for start in range(0, len(new), EMBED_AT_ONCE):
        progress(Progress("Indexing", start, len(new), "texts"))
        some = order[start : start + EMBED_AT_ONCE]
        for i, encoding in zip(some, embedder.encode([new[i][1] for i in some]), strict=True):
            vectors[i] = encoding.vector
            if new[i][0] is not None:
                row = (new[i][0], encoding.ids.tobytes(), encoding.spans.tobytes(), encoding.tokens.tobytes())
                database.execute("INSERT INTO tokens VALUES (?, ?, ?, ?)", row)
    progress(Progress("Indexing", len(new), len(new), "texts"))
    return [vectors]


def _write_vectors(path: Path, vectors: Vectors) -> None:
    import faiss

    if len(vectors) <= FLAT_LIMIT:
        store: Any = faiss.IndexFlatIP(vectors.shape[1])
    else:
        store = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        store.hnsw.efSearch = 200
    store.add(vectors)
    # through Python's own file, so that a full disk is an OSError and any file name works
    path.write_bytes(faiss.serialize_index(store).tobytes())


def _stored_vectors(index: Path, manifest: dict[str, str], database: sqlite3.Connection) -> Vectors | None:
    """The vectors of the present generation, or ``None`` when they are of no use and all must be made anew."""
    try:
        store = read_vectors(index / vector_name(manifest["generation"]))
    except (KnowledgeIndexError, KeyError):
        return None
    count = database.execute("SELECT count(*) FROM vectors").fetchone()[0]
    if store.ntotal != count or str(store.d) != manifest["dimension"]:
        return None
    return np.asarray(store.reconstruct_n(0, count), np.float32)


def _remove_old_vectors(index: Path, keep: set[str]) -> None:
    """Keep the generation before, which a reader may be about to load."""
    for path in index.glob("vectors-*.faiss"):
        if path.name not in keep:
            path.unlink(missing_ok=True)


def _recreate(database: sqlite3.Connection) -> None:
    for table in ("chunks_text", "vectors", "tokens", "chunks", "documents", "manifest"):
        database.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _TABLES.strip().split(";\n"):
        database.execute(statement.rstrip(";"))


def _write_manifest(database: sqlite3.Connection, values: dict[str, str]) -> None:
    database.executemany("INSERT OR REPLACE INTO manifest VALUES (?, ?)", values.items())


def _discard_if_damaged(index: Path) -> None:
    """An ``index.sqlite`` that SQLite cannot read is of no use to anybody: the index is derived, so it goes."""
    path = index / DATABASE
    if path.exists() and not _is_sound(path):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)


def _is_sound(path: Path) -> bool:
    try:
        with connection(path) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        raise  # locked or not to be opened, which says nothing of the content
    except sqlite3.DatabaseError:
        return False


def _cannot_write(index: Path, error: Exception) -> KnowledgeIndexError:
    if isinstance(error, sqlite3.Error) and "locked" in str(error):
        return KnowledgeIndexError(f"Another process is building the index in {index}: wait until it is done.")
    return KnowledgeIndexError(
        f"The index in {index} cannot be written ({error}): check its permissions and the free disk space, "
        "or choose another folder with ASSISTANT_INDEX (or --index)."
    )
