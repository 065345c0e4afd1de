"""The index: built, updated, damaged, killed in the middle, built twice at once, and read all the while."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import numpy as np
import pytest

from assistant.errors import KnowledgeError, KnowledgeIndexError
from assistant.ingestion import expansion
from assistant.ingestion.expansion import MOST
from assistant.retrieval.builder import Report, build
from assistant.retrieval.store import DATABASE, KnowledgeIndex, connection, read_manifest
from assistant.schemas import Chunk, Expansion, Progress
from tests.conftest import ROOT
from tests.fakes import HashEmbedder

REMEDY = "run `python -m assistant index`"


class OtherEmbedder(HashEmbedder):
    name = "other"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def built(knowledge: Path, folder: Path) -> Path:
    build(knowledge, folder, HashEmbedder())
    return folder


def opened(folder: Path) -> KnowledgeIndex:
    return KnowledgeIndex(folder, HashEmbedder.name)


def nearest(index: KnowledgeIndex, text: str) -> Chunk:
    """The chunk nearest in meaning to ``text``."""
    with index.snapshot() as snapshot:
        found = snapshot.nearest(HashEmbedder().embed([text])[0], 1)
        return snapshot.chunks(list(found))[next(iter(found))]


def texts(index: KnowledgeIndex) -> set[str]:
    with index.snapshot() as snapshot:
        return {chunk.text for chunk in snapshot.chunks(range(1000)).values()}


def generation(folder: Path) -> str:
    with connection(folder / DATABASE) as database:
        return read_manifest(database)["generation"]


def vector_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.faiss"))


def changes(report: Report) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.removed, report.unchanged


def consistent(folder: Path) -> None:
    """Every chunk has rows of its own, their vectors are its and its questions' embeddings, and full text finds it."""
    embedder = HashEmbedder()
    with opened(folder).snapshot() as snapshot:
        rows = snapshot.database.execute("SELECT chunk, row FROM vectors ORDER BY row").fetchall()
        assert [row for _, row in rows] == list(range(snapshot.store.ntotal))
        chunks = snapshot.chunks(sorted({identifier for identifier, _ in rows}))
        assert snapshot.counts()[1] == len(chunks)
        for identifier, chunk in chunks.items():
            vectors = [snapshot.store.reconstruct(row) for owner, row in rows if owner == identifier]
            found = snapshot.database.execute("SELECT questions FROM chunks_text WHERE rowid = ?", (identifier,))
            questions = [question for question in found.fetchone()[0].split("\n") if question]
            whole, *asked = embedder.encode([chunk.embedding_text, *questions])
            np.testing.assert_allclose(vectors, [whole.vector, *(encoding.vector for encoding in asked)])
            stored = snapshot.encodings([identifier])[identifier]
            for field in ("vector", "ids", "spans", "tokens"):
                np.testing.assert_array_equal(getattr(stored, field), getattr(whole, field))
            document = snapshot.document(chunk.document)
            assert document
            assert document.text[chunk.offset : chunk.offset + len(chunk.text)] == chunk.text
        for table in ("chunks_text", "tokens"):
            assert snapshot.database.execute(f"SELECT count(*) FROM {table}").fetchone() == (len(chunks),)


def test_what_was_built_can_be_searched_by_meaning_and_by_words(knowledge: Path, folder: Path) -> None:
    report = build(knowledge, folder, HashEmbedder())
    assert (report.documents, changes(report), report.skipped) == (3, (3, 0, 0, 0), ())
    assert nearest(opened(folder), "descale the kettle with vinegar").document == "kettle.txt"
    with opened(folder).snapshot() as snapshot:
        assert snapshot.counts() == (3, report.chunks)
        found = snapshot.full_text('"mulch"', 5)
        assert [chunk.headings for chunk in snapshot.chunks(list(found)).values()] == [("Watering",)]
        assert snapshot.full_text('"watered"', 5).keys() == snapshot.full_text('"water"', 5).keys() != set()
        assert snapshot.full_text("", 5) == {}
        tomatoes = snapshot.document("garden/tomatoes.md")
        assert tomatoes
        assert tomatoes.text == (knowledge / "garden" / "tomatoes.md").read_text()
        assert (tomatoes.title, tomatoes.body_line) == ("Growing tomatoes", 6)
        assert snapshot.document("none.md") is None
    consistent(folder)


def test_nearest_is_in_order_and_agrees_with_the_likenesses(built: Path) -> None:
    vector = HashEmbedder().embed(["water for the tomatoes"])[0]
    with opened(built).snapshot() as snapshot:
        found = snapshot.nearest(vector, 1000)
        assert len(found) == snapshot.store.ntotal
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert {i: max(some) for i, some in snapshot.likenesses(list(found), vector).items()} == pytest.approx(found)
        assert snapshot.likenesses([], vector) == {}
        assert list(snapshot.nearest(vector, 2)) == list(found)[:2]
        with pytest.raises(KnowledgeIndexError, match="dimensions"):
            snapshot.nearest(vector[:10], 1)


PLANTS = """# Sick plants

Plants show what they lack.

## Drooping

Limp leaves mean thirst.
"""
ASKED = (
    Expansion("Sick plants", "", ("what is wrong with my plants",)),
    Expansion("Sick plants: Drooping", "", ("why does my basil hang its head", "leaves look tired, what now?")),
    Expansion("Sick plants: No such heading", "", ("lost",)),
)


def test_a_chunk_is_found_by_the_questions_of_its_expansion(knowledge: Path, built: Path) -> None:
    path = knowledge / "plants.md"
    path.write_text(PLANTS)
    expansion.write(path, ASKED)
    build(knowledge, built, HashEmbedder())
    consistent(built)
    assert nearest(opened(built), "basil hang its head").text == "Limp leaves mean thirst."
    assert nearest(opened(built), "what is wrong").text == "Plants show what they lack."
    question = HashEmbedder().embed(["why does my basil hang its head"])[0]
    with opened(built).snapshot() as snapshot:
        assert [chunk.headings for chunk in snapshot.chunks(list(snapshot.full_text('"tired"', 5))).values()] == [
            ("Drooping",)
        ]
        found = snapshot.nearest(question, 1000)
        assert len(found) == snapshot.counts()[1]
        assert max(found.values()) == pytest.approx(1.0)
        likenesses = snapshot.likenesses(list(found), question)
        assert {i: max(some) for i, some in likenesses.items()} == pytest.approx(found)
        # its own, then those of its two questions
        drooping = likenesses[max(found, key=lambda i: found[i])]
        assert len(drooping) == 3
        assert drooping[1] == max(drooping)


def test_a_change_of_the_expansion_indexes_its_document_anew(knowledge: Path, built: Path) -> None:
    path = knowledge / "plants.md"
    path.write_text(PLANTS)
    build(knowledge, built, HashEmbedder())
    expansion.write(path, ASKED)
    assert changes(build(knowledge, built, HashEmbedder())) == (0, 1, 0, 3)
    consistent(built)
    assert changes(build(knowledge, built, HashEmbedder())) == (0, 0, 0, 4)
    expansion.write(path, ASKED[:1])
    assert changes(build(knowledge, built, HashEmbedder())) == (0, 1, 0, 3)
    consistent(built)
    assert nearest(opened(built), "basil hang its head").text != "Limp leaves mean thirst."
    expansion.sidecar(path).unlink()
    assert changes(build(knowledge, built, HashEmbedder())) == (0, 1, 0, 3)
    with opened(built).snapshot() as snapshot:
        assert snapshot.counts()[1] == snapshot.store.ntotal


def test_of_many_questions_the_first_are_used(tmp_path: Path, folder: Path) -> None:
    asked = tuple(f"who waters plant{number}" for number in range(MOST + 2))
    (tmp_path / "many.md").write_text("Water plants.\n")
    expansion.write(tmp_path / "many.md", [Expansion("many", "", asked)])
    build(tmp_path, folder, HashEmbedder())
    consistent(folder)
    with opened(folder).snapshot() as snapshot:
        assert snapshot.store.ntotal == 1 + MOST
        assert snapshot.full_text(f"plant{MOST - 1}", 5)
        assert not snapshot.full_text(f"plant{MOST}", 5)


def test_chunks_with_many_vectors_leave_room_for_others(tmp_path: Path, folder: Path) -> None:
    for number in range(20):
        path = tmp_path / f"{number}.md"
        path.write_text(f"Plant {number} likes water.\n")
        if number < 3:
            asked = tuple(f"how do i water plant {number} time{n}" for n in range(MOST))
            expansion.write(path, [Expansion(f"{number}", "", asked)])
    build(tmp_path, folder, HashEmbedder())
    with opened(folder).snapshot() as snapshot:
        vector = HashEmbedder().embed(["how do i water plant 1 time"])[0]
        assert [len(snapshot.nearest(vector, limit)) for limit in (1, 10, 100)] == [1, 10, 20]
        assert list(snapshot.nearest(vector, 5)) == list(snapshot.nearest(vector, 100))[:5]


def test_nothing_changed_means_nothing_done(knowledge: Path, built: Path) -> None:
    before, files, embedder = generation(built), vector_files(built), HashEmbedder()
    report = build(knowledge, built, embedder)
    assert changes(report) == (0, 0, 0, 3)
    assert embedder.seen == []
    assert (generation(built), vector_files(built)) == (before, files)


def test_only_new_and_changed_documents_are_embedded(knowledge: Path, built: Path) -> None:
    (knowledge / "kettle.txt").write_text("A kettle whistles.\n")
    (knowledge / "tea.md").write_text("# Tea\n\nTea draws for four minutes.\n")
    embedder = HashEmbedder()
    report = build(knowledge, built, embedder)
    assert changes(report) == (1, 1, 0, 2)
    assert sorted(embedder.seen) == ["Tea. Tea draws for four minutes.", "kettle. A kettle whistles."]
    assert "A kettle whistles." in texts(opened(built))
    consistent(built)


def test_a_document_that_is_gone_is_gone_from_the_index(knowledge: Path, built: Path) -> None:
    (knowledge / "bread.md").unlink()
    embedder = HashEmbedder()
    report = build(knowledge, built, embedder)
    assert (changes(report), embedder.seen) == ((0, 0, 1, 2), [])
    index = opened(built)
    assert not [text for text in texts(index) if "Dough" in text]
    with index.snapshot() as snapshot:
        assert snapshot.full_text('"dough"', 5) == {}
        assert snapshot.document("bread.md") is None
    consistent(built)


def test_a_document_that_can_no_longer_be_read_is_gone_and_reported(knowledge: Path, built: Path) -> None:
    (knowledge / "bread.md").write_bytes(b"\xff\xff")
    report = build(knowledge, built, HashEmbedder())
    assert changes(report) == (0, 0, 1, 2)
    assert [skipped.path for skipped in report.skipped] == ["bread.md"]


def test_a_document_that_moved_is_found_where_it_is(knowledge: Path, built: Path) -> None:
    (knowledge / "kettle.txt").rename(knowledge / "pot.txt")
    assert changes(build(knowledge, built, HashEmbedder())) == (1, 0, 1, 2)
    assert nearest(opened(built), "descale the kettle with vinegar").document == "pot.txt"
    consistent(built)


def test_many_updates_keep_the_index_consistent_and_small(knowledge: Path, built: Path) -> None:
    for n in range(6):
        (knowledge / f"note{n}.md").write_text(f"# Note {n}\n\nNote number {n} speaks of thing{n}.\n")
        (knowledge / f"note{n - 2}.md").unlink(missing_ok=True)
        build(knowledge, built, HashEmbedder())
        consistent(built)
    assert len(vector_files(built)) == 2


def test_documents_without_passages_make_an_empty_index(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.md").write_text("# Only a heading\n")
    report = build(tmp_path, folder, HashEmbedder())
    assert (report.documents, report.chunks) == (1, 0)
    with opened(folder).snapshot() as snapshot:
        assert snapshot.nearest(HashEmbedder().embed(["anything"])[0], 5) == {}


def test_progress_is_told_to_the_end(knowledge: Path, folder: Path) -> None:
    told: list[Progress] = []
    report = build(knowledge, folder, HashEmbedder(), told.append)
    assert told[0] == Progress("Indexing", 0, report.chunks, "texts")
    assert told[-1] == Progress("Indexing", report.chunks, report.chunks, "texts")


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_nothing_to_index_is_an_error_and_the_old_index_stays(
    knowledge: Path, built: Path, content: bytes | None
) -> None:
    shutil.rmtree(knowledge)
    knowledge.mkdir()
    if content:
        (knowledge / "bad.md").write_bytes(content)
    with pytest.raises(KnowledgeError, match=r"holds no document that can be read\..*Put Markdown") as caught:
        build(knowledge, built, HashEmbedder())
    assert ("bad.md: it is not UTF-8" in str(caught.value)) is bool(content)
    consistent(built)


def test_an_index_of_another_embedder_is_refused_and_built_anew(knowledge: Path, built: Path) -> None:
    with pytest.raises(KnowledgeIndexError, match="embedder hash, not other") as caught:
        KnowledgeIndex(built, "other")
    assert REMEDY in str(caught.value)
    embedder = OtherEmbedder()
    report = build(knowledge, built, embedder)
    assert changes(report) == (3, 0, 0, 0)
    assert len(embedder.seen) == report.chunks
    KnowledgeIndex(built, "other")
    with pytest.raises(KnowledgeIndexError, match="embedder other, not hash"):
        opened(built)


def test_an_index_of_other_chunk_lengths_is_built_anew(knowledge: Path, built: Path) -> None:
    assert changes(build(knowledge, built, HashEmbedder(max_tokens=30))) == (3, 0, 0, 0)
    consistent(built)


def test_a_missing_index_is_an_error_that_says_what_to_run(folder: Path) -> None:
    with pytest.raises(KnowledgeIndexError, match="There is no index in") as caught:
        opened(folder)
    assert REMEDY in str(caught.value)
    assert not folder.exists()


def cut_vectors(folder: Path) -> None:
    path = vector_files(folder)[0]
    path.write_bytes(path.read_bytes()[:-1])


def empty_vectors(folder: Path) -> None:
    vector_files(folder)[0].write_bytes(b"")


def garbage_vectors(folder: Path) -> None:
    vector_files(folder)[0].write_bytes(b"garbage" * 1000)


def no_vectors(folder: Path) -> None:
    vector_files(folder)[0].unlink()


def too_few_vectors(folder: Path) -> None:
    import faiss

    store: Any = faiss.IndexFlatIP(HashEmbedder.dimension)
    store.add(np.zeros((1, HashEmbedder.dimension), np.float32))
    vector_files(folder)[0].write_bytes(faiss.serialize_index(store).tobytes())


def garbage_database(folder: Path) -> None:
    (folder / DATABASE).write_bytes(b"garbage" * 10_000)


def empty_database(folder: Path) -> None:
    (folder / DATABASE).write_bytes(b"")


def half_a_database(folder: Path) -> None:
    data = (folder / DATABASE).read_bytes()
    (folder / DATABASE).write_bytes(data[: len(data) // 2])


def foreign_database(folder: Path) -> None:
    with connection(folder / DATABASE) as database:
        database.execute("DROP TABLE manifest")


DAMAGES = [
    cut_vectors,
    empty_vectors,
    garbage_vectors,
    no_vectors,
    too_few_vectors,
    garbage_database,
    empty_database,
    half_a_database,
    foreign_database,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_an_error_and_the_next_build_mends_it(knowledge: Path, built: Path, damage: Any) -> None:
    damage(built)
    with pytest.raises(KnowledgeIndexError) as caught:
        opened(built)
    assert REMEDY in str(caught.value)
    report = build(knowledge, built, HashEmbedder())
    assert changes(report) == (3, 0, 0, 0)
    assert nearest(opened(built), "descale the kettle with vinegar").document == "kettle.txt"
    consistent(built)


def test_an_open_index_sees_the_next_build(knowledge: Path, built: Path) -> None:
    index = opened(built)
    (knowledge / "tea.md").write_text("# Tea\n\nTea draws for four minutes.\n")
    build(knowledge, built, HashEmbedder())
    assert nearest(index, "Tea. Tea draws for four minutes.").document == "tea.md"


def test_an_open_index_sees_what_is_built_after_the_folder_was_deleted(knowledge: Path, built: Path) -> None:
    index = opened(built)
    shutil.rmtree(built)
    with pytest.raises(KnowledgeIndexError, match="There is no index"):
        texts(index)
    (knowledge / "bread.md").unlink()
    (knowledge / "tea.md").write_text("# Tea\n\nTea draws for four minutes.\n")
    build(knowledge, built, HashEmbedder())
    assert nearest(index, "Tea. Tea draws for four minutes.").document == "tea.md"
    assert not [text for text in texts(index) if "Dough" in text]


def test_a_snapshot_does_not_change_while_the_index_is_built(knowledge: Path, built: Path) -> None:
    index = opened(built)
    with index.snapshot() as snapshot:
        before = snapshot.chunks(range(1000))
        (knowledge / "bread.md").unlink()
        build(knowledge, built, HashEmbedder())
        assert snapshot.chunks(range(1000)) == before
        assert len(before) == snapshot.store.ntotal
    assert len(texts(index)) < len(before)


KILLED = """
import os, signal, sys
from pathlib import Path
from assistant.retrieval import builder
from tests.fakes import HashEmbedder

knowledge, index, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
builder.EMBED_AT_ONCE = 2

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Dying(HashEmbedder):
    def encode(self, texts):
        if moment == "embedding" and self.seen:
            die()
        return super().encode(texts)

def listen(event, arguments):
    if event == "open" and moment == "writing" and str(arguments[0]).endswith(".faiss") and "w" in str(arguments[1]):
        die()
    if event == "os.remove" and moment == "tidying" and str(arguments[0]).endswith(".faiss"):
        die()

sys.addaudithook(listen)
builder.build(knowledge, index, Dying())
"""


@pytest.mark.parametrize("moment", ["embedding", "writing", "tidying"])
def test_a_build_that_is_killed_leaves_the_old_index(knowledge: Path, built: Path, moment: str) -> None:
    (knowledge / "tea.md").write_text("# Tea\n\nTea draws for four minutes.\n")
    build(knowledge, built, HashEmbedder())  # from the third build on, an old file of vectors is removed
    index = opened(built)
    before, old = generation(built), texts(index)
    (knowledge / "bread.md").unlink()
    (knowledge / "long.md").write_text("\n\n".join(f"## Part {n}\n\nText of part {n}." for n in range(9)))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, knowledge, built, moment], cwd=ROOT, check=False, capture_output=True
    )
    assert killed.returncode == -9, killed.stderr.decode()
    assert generation(built) == before
    assert texts(index) == texts(opened(built)) == old
    consistent(built)
    assert changes(build(knowledge, built, HashEmbedder())) == (1, 0, 1, 3)
    consistent(built)
    assert len(vector_files(built)) <= 2


def test_a_first_build_that_is_killed_leaves_no_index_and_is_made_good(knowledge: Path, folder: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, knowledge, folder, "embedding"], cwd=ROOT, check=False)
    assert killed.returncode == -9
    with pytest.raises(KnowledgeIndexError, match="run `python -m assistant index`"):
        opened(folder)
    build(knowledge, folder, HashEmbedder())
    consistent(folder)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **others: connect(path, **{**others, "timeout": 0.05}))


@pytest.mark.usefixtures("_impatient")
def test_a_second_builder_is_told_that_another_is_at_work(knowledge: Path, built: Path) -> None:
    (knowledge / "bread.md").unlink()
    with connection(built / DATABASE) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(KnowledgeIndexError, match=r"Another process is building.*wait until it is done") as caught:
            build(knowledge, built, HashEmbedder())
        assert str(built) in str(caught.value)
        assert "Bread is baked from flour, water, salt and yeast." in texts(opened(built))
    build(knowledge, built, HashEmbedder())
    consistent(built)


def test_a_second_builder_waits_for_one_that_is_soon_done(knowledge: Path, built: Path) -> None:
    (knowledge / "bread.md").unlink()
    with connection(built / DATABASE) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = Timer(0.2, other.execute, ["ROLLBACK"])
        timer.start()
        assert changes(build(knowledge, built, HashEmbedder())) == (0, 0, 1, 2)
        timer.join()


def test_builders_at_the_same_time_leave_one_good_index(knowledge: Path, folder: Path) -> None:
    errors: list[Exception] = []

    def run() -> None:
        try:
            build(knowledge, folder, HashEmbedder())
        except KnowledgeIndexError as error:
            errors.append(error)

    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) < 4
    assert all("Another process is building" in str(error) for error in errors), errors
    consistent(folder)


def test_readers_are_never_disturbed_by_builders(knowledge: Path, built: Path) -> None:
    index, errors, seen = opened(built), list[str](), set[str]()
    done: list[bool] = []

    def read() -> None:
        while not done:
            try:
                chunk = nearest(index, "changing number")
                seen.add(chunk.text)
            except Exception as error:
                errors.append(repr(error))

    readers = [Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(200):
        (knowledge / "note.md").write_text(f"# Changing\n\nThe changing number is {n}.\n")
        build(knowledge, built, HashEmbedder())
        # on a busy machine the readers may not have had their turn yet
        if n >= 8 and any(text.startswith("The changing number is") for text in list(seen)):
            break
    done.append(True)
    for reader in readers:
        reader.join()
    assert errors == []
    assert any(text.startswith("The changing number is") for text in seen)


def test_an_index_folder_that_cannot_be_made_is_an_error_with_a_remedy(knowledge: Path, folder: Path) -> None:
    folder.write_text("a file stands here")
    with pytest.raises(KnowledgeIndexError, match=r"cannot be written.*choose another folder with ASSISTANT_INDEX"):
        build(knowledge, folder, HashEmbedder())


def test_a_database_that_cannot_be_opened_is_an_error_with_a_remedy(knowledge: Path, folder: Path) -> None:
    (folder / DATABASE).mkdir(parents=True)
    with pytest.raises(KnowledgeIndexError, match=r"cannot be written.*choose another folder with ASSISTANT_INDEX"):
        build(knowledge, folder, HashEmbedder())


def test_the_name_of_the_folder_is_not_mistaken_for_the_reason(knowledge: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").write_text("a file stands here")
    with pytest.raises(KnowledgeIndexError, match="cannot be written"):
        build(knowledge, tmp_path / "locked" / "index", HashEmbedder())
