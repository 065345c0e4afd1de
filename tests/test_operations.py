"""What an operator has: numbers, a log, a login, and an end that cuts nobody off."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from assistant.__main__ import main
from assistant.errors import QuestionError
from assistant.feedback import FeedbackStore
from assistant.schemas import Answer, Bias, Finished, Token
from assistant.settings import Settings
from assistant.web.api import Api
from assistant.web.guard import Guard
from assistant.web.limits import Limits
from assistant.web.line import CLOSED, READERS, WAITING, Line
from assistant.web.monitor import LOG, Monitor
from assistant.web.routes import build_routes
from tests.conftest import ROOT
from tests.fakes import ScriptedModel
from tests.servers import free_port, wait_until_ready
from tests.test_web import prepared

QUESTION = "How long does bread bake, and at how many degrees?"
TRUE = "Bread bakes for forty minutes at 230 degrees."
FALSE = "Bread bakes for ninety minutes at 400 degrees."


def opened(settings: Settings, line: Line | None = None, model: ScriptedModel | None = None) -> TestClient:
    line = line or Line(Monitor(settings.keep_questions))
    preparation = prepared(settings, model or ScriptedModel(f"{TRUE} {FALSE}"))
    routes = [
        *build_routes(settings, preparation, line),
        *Api(settings, preparation, line, Limits(settings)).routes(),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, settings=settings)])
    return TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=model is None)


def asked(client: TestClient | httpx.Client, question: str = QUESTION, **headers: str) -> Any:
    body = {"messages": [{"role": "user", "content": question}]}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def numbers(client: TestClient) -> dict[str, float]:
    """Name and labels → value, as Prometheus itself reads the text."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_answers_refusals_and_what_was_withheld_are_counted(settings: Settings) -> None:
    client = opened(replace(settings, metrics=True, questions_a_minute=2))
    assert asked(client).status_code == 200
    assert asked(client, "Who won the football world cup in 1998?").json()["refused"] is True
    assert asked(client).status_code == 429
    found = numbers(client)
    assert found["groundwork_answers_total false"] == found["groundwork_answers_total true"] == 1
    assert found["groundwork_withheld_sentences_total"] == 1
    assert found["groundwork_turned_away_total limit"] == 1
    assert found["groundwork_answer_seconds_count"] == 2
    assert found["groundwork_first_token_seconds_count"] == 1
    assert found["groundwork_answer_tokens_total"] > 0
    assert found["groundwork_waiting"] == found["groundwork_running"] == 0


def test_a_line_that_is_full_and_an_answer_that_fails_are_counted(settings: Settings) -> None:
    class Broken(ScriptedModel):
        def stream(self, *_: object) -> Iterator[object]:  # type: ignore[override]
            raise ValueError("broken")

    line = Line()
    client = opened(replace(settings, metrics=True), line, Broken(""))
    assert asked(client).status_code == 500
    line.waiting = WAITING
    assert asked(client).status_code == 429
    line.waiting = 0
    assert client.get("/healthz").status_code == 200
    line.close()
    late = asked(client)
    assert (late.status_code, late.json()["error"]["message"]) == (503, CLOSED)
    assert client.get("/healthz").json() == {"status": "stopping"}
    found = numbers(client)
    assert found["groundwork_failures_total"] == 1
    assert found["groundwork_turned_away_total closing"] == found["groundwork_turned_away_total full"] == 1
    assert found["groundwork_running"] == 0


def test_what_is_stopped_ends_for_those_who_wait_too(settings: Settings) -> None:
    class Endless(ScriptedModel):
        def stream(
            self, messages: object, max_tokens: int, stop: Event, attempt: int = 0, bias: Bias = ()
        ) -> Iterator[Token]:
            while not stop.wait(0.01):
                yield Token("and ", 1, 0)

    line = Line()
    assistant = prepared(settings, Endless("")).assistant
    assert assistant

    async def read() -> bool:
        if not await line.enter():
            return False
        stop = Event()
        try:
            async with aclosing(line.answering(assistant.stream(QUESTION, (), stop), stop)) as events:
                return [event async for event in events] != []
        finally:
            line.leave()

    async def crowd() -> list[bool]:
        readers = [asyncio.ensure_future(read()) for _ in range(READERS + 3)]
        while line.waiting != 3:
            await asyncio.sleep(0.01)
        line.close()
        line.stop()
        return await asyncio.wait_for(asyncio.gather(*readers), 20)

    assert sorted(asyncio.run(crowd())) == [False] * 3 + [True] * READERS
    assert line.is_empty


def test_who_leaves_is_counted_and_a_bad_question_is_no_failure(settings: Settings) -> None:
    line = Line()
    assistant = prepared(settings, ScriptedModel(f"{TRUE} {FALSE}")).assistant
    assert assistant

    async def leave() -> None:
        stop = Event()
        async with aclosing(line.answering(assistant.stream(QUESTION, (), stop), stop)) as events:
            async for _ in events:
                return

    async def ask_nothing() -> None:
        stop = Event()
        async with aclosing(line.answering(assistant.stream("  ", (), stop), stop)) as events:
            assert [event async for event in events]

    async def stopped() -> Answer:
        stop = Event()
        async with aclosing(line.answering(assistant.stream(QUESTION, (), stop), stop)) as events:
            async for event in events:
                line.stop()
                if isinstance(event, Finished):
                    return event.answer
        raise AssertionError

    asyncio.run(leave())
    with pytest.raises(QuestionError):
        asyncio.run(ask_nothing())
    assert FALSE not in asyncio.run(stopped()).text
    told = line.monitor.numbers().decode()
    assert "groundwork_left_total 2.0" in told
    assert "groundwork_failures_total 0.0" in told
    assert "groundwork_answers_total{" not in told


def test_numbers_are_told_only_when_the_owner_wants_it(settings: Settings) -> None:
    assert opened(settings).get("/metrics").status_code == 404


@pytest.mark.parametrize("keep", [False, True])
def test_the_log_has_no_words_of_a_reader_unless_they_are_kept(
    settings: Settings, caplog: pytest.LogCaptureFixture, keep: bool
) -> None:
    with caplog.at_level(logging.INFO, LOG.name):
        asked(opened(replace(settings, keep_questions=keep)))
    (line,) = [json.loads(record.message) for record in caplog.records if record.name == LOG.name]
    assert (line["event"], line["refused"], line["withheld"]) == ("answered", False, 1)
    assert ("bake" in json.dumps(line)) is keep


def test_a_login_is_asked_for_at_every_door_but_health(settings: Settings) -> None:
    client = opened(replace(settings, auth="ada:secret:with colon", api_key="key", metrics=True))
    for path in ("/documents/bread.md", "/topics", "/embed", "/widget.js", "/metrics", "/v1/models"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Basic realm="')
        assert "nosniff" in answer.headers["x-content-type-options"]
        assert client.get(path, auth=("ada", "wrong")).status_code == 401
        assert client.get(path, headers=[(b"Authorization", b"Basic \xff")]).status_code == 401
    assert client.get("/healthz").status_code == 200
    assert client.get("/documents/bread.md", auth=("ada", "secret:with colon")).status_code == 200
    shouted = {"Authorization": "BASIC  YWRhOnNlY3JldDp3aXRoIGNvbG9u"}
    assert client.get("/documents/bread.md", headers=shouted).status_code == 200
    assert client.get("/documents/bread.md", headers={"Authorization": "Bearer"}).status_code == 401
    # the page asks `/v1` with no key of its own; programs send theirs instead of the login
    assert asked(client).status_code == 401
    assert asked(client, Authorization="Bearer key").status_code == 200
    assert asked(client, Authorization="Bearer other").status_code == 401


def test_a_request_to_stop_lets_running_answers_end_and_nobody_in(weights_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "bread.md").write_text((ROOT / "knowledge/adaptation/quantisation.md").read_text())
    port = free_port()
    environment = {
        **os.environ,
        "ASSISTANT_PORT": str(port),
        "ASSISTANT_MODEL": "smollm2-135m",
        "ASSISTANT_CACHE": str(weights_cache),
        "ASSISTANT_INDEX": str(tmp_path / "index"),
        "ASSISTANT_KNOWLEDGE": str(tmp_path / "knowledge"),
        "ASSISTANT_LOG": "1",
        "ASSISTANT_AUTH": "ada:secret",
    }
    command = [sys.executable, "-m", "assistant", "serve"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, timeout=60, auth=("ada", "secret")) as client:
            wait_until_ready(client, process)
            # the login stands before Gradio's own doors, and does not keep it from starting
            assert client.get("/").status_code == 200
            for path in ("/", "/config", "/gradio_api/info", "/gradio_api/call/chat", "/mcp", "/embed"):
                assert httpx.get(address + path).status_code == 401
            body = {"messages": [{"role": "user", "content": "Which number formats are there?"}], "stream": True}
            with client.stream("POST", "/v1/chat/completions", json=body) as stream:
                lines = stream.iter_lines()
                assert next(lines).startswith("data: ")  # the answer has begun
                process.send_signal(signal.SIGTERM)
                while client.get("/healthz").json()["status"] != "stopping":
                    time.sleep(0.05)  # the signal is heard between two steps of the model
                late = asked(client, "What is GGUF?")
                rest = [line for line in lines if line]
        assert late.status_code == 503
        assert int(late.headers["retry-after"]) > 0
        assert rest[-1] == "data: [DONE]"
        assert '"finish_reason": "stop"' in rest[-2]
        assert process.wait(30) == 0
        said = process.stderr.read()
    finally:
        process.kill()
        process.wait(10)
        process.stderr.close()
    logged = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert sorted(line.get("reason", line["event"]) for line in logged) == ["answered", "closing"]
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in logged)
    assert "Traceback" not in said


@pytest.mark.soak
def test_a_request_to_stop_while_indexing_ends_it_in_order(weights_cache: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "ASSISTANT_PORT": str(free_port()),
        "ASSISTANT_CACHE": str(weights_cache),
        "ASSISTANT_INDEX": str(tmp_path / "index"),
    }
    command = [sys.executable, "app.py"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            while not process.stderr.readline().startswith("Indexing"):
                assert process.poll() is None
            time.sleep(1)  # inside torch by now, where the end of the interpreter would abort the process
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert not list((tmp_path / "index").glob("*.faiss"))


def test_verdicts_are_exported_without_formulas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeedbackStore(tmp_path, keep_questions=True)
    store.record("like", ["b.md", "a.md"], '=HYPERLINK("http://evil")', "Two,\nlines")
    store.record("dislike", ["a\r=EVIL().md"], "@SUM(1)", "-1\r=EVIL()")
    monkeypatch.setenv("ASSISTANT_CACHE", str(tmp_path))
    assert main(["feedback"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert main(["feedback", "--json"]) == 0
    plain = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["question"] for row in rows] == ['\'=HYPERLINK("http://evil")', "'@SUM(1)"]
    assert [row["answer"] for row in rows] == ["Two,\nlines", "'-1\r=EVIL()"]
    assert rows[1]["documents"] == "a\r=EVIL().md"
    assert rows[0]["documents"] == "b.md a.md"
    assert [row["question"] for row in plain] == ['=HYPERLINK("http://evil")', "@SUM(1)"]
    assert datetime.fromisoformat(plain[0]["time"]).tzinfo is not None
    store.path.write_bytes(b"no database")
    assert main(["feedback"]) == 1
    assert "move it away" in capsys.readouterr().err
    monkeypatch.setenv("ASSISTANT_CACHE", str(tmp_path / "none"))
    assert main(["feedback"]) == 0
    assert capsys.readouterr().out == "time,verdict,documents,question,answer\r\n"
