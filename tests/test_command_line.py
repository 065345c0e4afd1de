"""Every verb of the command line as a process, with the real embedder, FAISS, SQLite and SmolLM2.

What is only printed otherwise is asked of `main` in this process, where torch has been imported before.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assistant.__main__ import main
from tests.conftest import ROOT


def run(*arguments: str, cache: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "ASSISTANT_MODEL": "smollm2-135m", "PYTHONPATH": str(ROOT), **environment}
    if cache:
        variables["ASSISTANT_CACHE"] = str(cache)
    return subprocess.run(
        [sys.executable, "-m", "assistant", *arguments], capture_output=True, text=True, timeout=120, env=variables
    )


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """What a verb that succeeds prints and says, run in this process."""
    assert main(arguments) == 0
    return capsys.readouterr()


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def failure(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a failure."""
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stdout == ""
    written = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(written) == 1, done.stderr
    return written[0]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str, str]:
    """The options that name a knowledge folder and its built index."""
    from tests.conftest import BREAD, KETTLE, TOMATOES

    folder = tmp_path_factory.mktemp("built")
    knowledge = folder / "knowledge"
    knowledge.mkdir()
    (knowledge / "tomatoes.md").write_text(TOMATOES, encoding="utf-8")
    (knowledge / "bread.md").write_text(BREAD, encoding="utf-8")
    (knowledge / "kettle.txt").write_text(KETTLE, encoding="utf-8")
    (knowledge / "old.md").write_bytes(b"# caf\xe9\n")
    (knowledge / "picture.png").write_bytes(b"\x89PNG")
    options = ("--knowledge", str(knowledge), "--index", str(folder / "index"))
    (report,) = lines(run("index", "--json", *options))
    assert report["documents"] == report["added"] == 3
    assert report["chunks"] >= 6
    assert report["updated"] == report["removed"] == report["unchanged"] == 0
    assert report["seconds"] > 0
    reasons = {row["path"]: row["reason"] for row in report["skipped"]}
    assert "not UTF-8 (line 1)" in reasons["old.md"]
    assert "not supported" in reasons["picture.png"]
    return options


def test_index_again_changes_nothing_and_options_may_stand_before_the_verb(
    built: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = printed(capsys, *built, "index")
    assert "3 unchanged" in out
    assert "Skipped old.md: it is not UTF-8 (line 1): save it again as UTF-8" in err


def test_search_finds_the_passage(built: tuple[str, ...]) -> None:
    (row,) = lines(run("search", "how long does the loaf stay in the oven", "-k", "2", "--json", *built))
    assert row["results"][0]["document"] == "bread.md"
    first = row["results"][0]
    assert "forty minutes" in first["text"]
    assert (first["title"], first["start_line"], first["end_line"], first["page"]) == ("Baking bread", 11, 11, None)
    assert len(row["results"]) == 2
    assert row["results"][0]["score"] > row["results"][1]["score"]
    assert row["milliseconds"] > 0


def test_search_prints_for_people(built: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, "search", "watering tomatoes", *built)
    assert out.startswith("1. Growing tomatoes: Watering  (tomatoes.md, lines ")


def test_search_batch_uses_the_history(built: tuple[str, ...], tmp_path: Path) -> None:
    batch = tmp_path / "batch.jsonl"
    history = [{"role": "user", "content": "How do I grow tomatoes?"}, {"role": "assistant", "content": "With water."}]
    rows = [
        {"id": "a", "question": "How warm must dough be to rise?"},
        {"id": 7, "question": "And which pot do they need?", "history": history},
    ]
    batch.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    first, second = lines(run("search", "--batch", str(batch), *built))
    assert (first["id"], second["id"]) == ("a", 7)
    assert first["query"] == "How warm must dough be to rise?"
    assert "tomatoes" in second["query"]
    assert second["results"][0]["document"] == "tomatoes.md"


def test_ask_answers_with_verbatim_quotes(built: tuple[str, ...], weights_cache: Path, tmp_path: Path) -> None:
    batch = tmp_path / "batch.jsonl"
    rows = [
        {"id": 1, "question": "How long does bread bake, and at how many degrees?"},
        {"id": 2, "question": "Who won the football world cup in 1998?"},
    ]
    batch.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    answered, refused = lines(run("ask", "--batch", str(batch), *built, cache=weights_cache))
    assert not answered["refused"]
    assert "[1]" in answered["answer"]
    for citation in answered["citations"]:
        source = (Path(built[1]) / citation["document"]).read_text(encoding="utf-8")
        assert " ".join(citation["quote"].split()) in " ".join(source.split())
        assert citation["quote"].split()[0] in source.splitlines()[citation["start_line"] - 1]
        assert citation["page"] is None
    timings = answered["timings"]
    assert 0 < timings["retrieve_ms"] < timings["first_token_ms"] < timings["total_ms"]
    assert timings["first_sentence_ms"] <= timings["total_ms"]
    assert timings["prompt_tokens"] > 100
    assert timings["answer_tokens"] > 0
    assert refused["refused"]
    assert refused["citations"] == []
    assert refused["timings"]["first_token_ms"] is None
    assert refused["answer"] == "I do not know: the documents do not answer this.", "no topic is near"


def test_ask_prints_for_people(
    built: tuple[str, ...], weights_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSISTANT_MODEL", "smollm2-135m")
    monkeypatch.setenv("ASSISTANT_CACHE", str(weights_cache))
    out, _ = printed(capsys, "ask", "How long does bread bake?", *built)
    assert "[1] Baking bread (bread.md:" in out


def test_weights_are_verified(weights_cache: Path) -> None:
    (row,) = lines(run("weights", "--json", cache=weights_cache))
    assert row["name"] == "smollm2-135m"
    assert row["bytes"] == 98_362_432


def test_doctor_says_what_works_and_what_to_do(built: tuple[str, ...], weights_cache: Path, tmp_path: Path) -> None:
    (row,) = lines(run("doctor", "--json", *built, cache=weights_cache))
    assert row["works"]
    assert {finding["name"] for finding in row["findings"]} >= {"knowledge", "index", "embedder", "model", "disk"}
    done = run("doctor", "--index", str(tmp_path / "none"), cache=tmp_path)
    assert done.returncode == 1
    assert "run `python -m assistant index` first" in done.stdout
    assert "Run `python -m assistant weights`" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("search",), ("ask", "x", "--batch", "y"), ("search", "-k")])
def test_a_usage_error_exits_with_two(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).returncode == 2


BEFORE_TORCH = """
import sys
from assistant.__main__ import main
assert main(sys.argv[1:]) == 1
assert "torch" not in sys.modules
"""


def test_what_is_wrong_is_said_before_the_embedder_is_loaded(built: tuple[str, ...], tmp_path: Path) -> None:
    nowhere, environment = str(tmp_path / "none"), {**os.environ, "PYTHONPATH": str(ROOT), "ASSISTANT_MODEL": "gpt-99"}
    for arguments in (
        ("index", "--knowledge", nowhere),
        ("search", "x", "--index", nowhere),
        ("search", "x" * 2001, *built),
        ("ask", "x", *built),
    ):
        command = [sys.executable, "-c", BEFORE_TORCH, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, (arguments, done.stderr)


class TestBadInput:
    """Each gives one clear line with the remedy and exit 1, and nothing is lost."""

    def test_a_missing_knowledge_folder(self, tmp_path: Path) -> None:
        for verb in ("index", "serve"):
            message = failure(run(verb, "--knowledge", str(tmp_path / "none"), "--index", str(tmp_path / "index")))
            assert "does not exist: create it" in message
        assert not (tmp_path / "index").exists()

    def test_an_empty_knowledge_folder_keeps_the_old_index(
        self, built: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "empty").mkdir()
        for verb in ("index", "serve"):
            message = failure(run(verb, "--knowledge", str(tmp_path / "empty"), "--index", built[3]))
            assert "holds no document that can be read" in message
        out, _ = printed(capsys, "search", "bread", "--json", *built)
        assert json.loads(out)["results"]

    def test_only_files_that_are_not_utf_8(self, tmp_path: Path) -> None:
        (tmp_path / "old.md").write_bytes("# Größe".encode("latin-1"))
        message = failure(run("index", "--knowledge", str(tmp_path), "--index", str(tmp_path / "index")))
        assert "old.md: it is not UTF-8 (line 1): save it again as UTF-8" in message

    def test_a_port_that_is_taken(self, built: tuple[str, ...]) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            message = failure(run("serve", *built, ASSISTANT_PORT=str(port)))
        assert f"127.0.0.1:{port}" in message
        assert "choose another with ASSISTANT_PORT" in message

    def test_weights_with_a_wrong_hash(self, built: tuple[str, ...], tmp_path: Path) -> None:
        path = tmp_path / "weights" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        path.parent.mkdir()
        path.write_bytes(b"GGUF nonsense")
        for verb in (("weights",), ("ask", "How long does bread bake?", *built)):
            message = failure(run(*verb, cache=tmp_path))
            assert "is not the expected file" in message
            assert "Delete it and run" in message
        assert path.read_bytes() == b"GGUF nonsense"

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("PORT", "seventy"),
            ("PORT", "70000"),
            ("THREADS", "0"),
            ("SITES", "example.org"),
            ("KEEP_QUESTIONS", "maybe"),
        ],
    )
    def test_a_nonsense_setting(self, variable: str, value: str) -> None:
        message = failure(run("doctor", cache=None, **{f"ASSISTANT_{variable}": value}))
        assert f"ASSISTANT_{variable} is '{value}', which cannot be used: set it to" in message

    def test_an_unknown_model(self, built: tuple[str, ...]) -> None:
        assert "use qwen2.5-coder-1.5b" in failure(run("ask", "x", *built, ASSISTANT_MODEL="gpt-99"))

    def test_no_index_yet(self, tmp_path: Path) -> None:
        assert "run `python -m assistant index` first" in failure(run("search", "x", "--index", str(tmp_path / "no")))

    def test_a_batch_line_that_cannot_be_used(self, built: tuple[str, ...], tmp_path: Path) -> None:
        batch = tmp_path / "batch.jsonl"
        batch.write_text('{"id": 1, "question": "ok"}\n{"id": 2}\n', encoding="utf-8")
        assert f"{batch}, line 2" in failure(run("search", "--batch", str(batch), *built))
        assert "cannot be read" in failure(run("ask", "--batch", str(tmp_path / "none"), *built))

    def test_a_question_that_is_too_long(self, built: tuple[str, ...]) -> None:
        assert "shorten it to at most 2,000" in failure(run("search", "x" * 2001, *built))
