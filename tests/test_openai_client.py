"""A model behind an address: a real llama.cpp server, and servers that are slow, busy, gone or talk nonsense."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from assistant.doctor import examine
from assistant.errors import ModelError
from assistant.llm import openai_client
from assistant.llm.engines import load_model
from assistant.llm.openai_client import RemoteModel
from assistant.llm.weights import TABLE
from assistant.pipeline import Assistant
from assistant.retrieval.builder import build
from assistant.retrieval.hybrid_search import Retriever
from assistant.retrieval.store import KnowledgeIndex
from assistant.schemas import Message
from assistant.settings import Settings
from tests.fakes import HashEmbedder
from tests.servers import serving

TRUE = "Tomatoes need two litres of water every day in summer."
ASKED = [Message("user", ("How much water?",))]
TALE = [Message("user", ("Tell a story about a fox.",))]

SERVER = """
import sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_ctx, parameters.n_parallel, parameters.verbosity, parameters.port = 2048, 1, 0, 0
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def events(*texts: str) -> str:
    """An answer in pieces, as a server streams it."""
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in texts]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


Reply = tuple[int, str]


class Asked(list[dict[str, Any]]):
    """What a server was asked: path, headers in lower case, and the JSON that was sent."""


@contextmanager
def answering(*replies: Reply, silent_seconds: float = 0.0, cut: bool = False) -> Iterator[tuple[str, Asked]]:
    """A server that gives these replies in turn, the last one again and again.

    Args:
        silent_seconds: it says nothing for so long after its first line.
        cut: it promises more than it sends.
    """
    asked, left = Asked(), list(replies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, sent: dict[str, Any]) -> None:
            asked.append({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "sent": sent})
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode()) + cut))
            self.end_headers()
            end = body.find("\n\n") + 2
            self.wfile.write(body[:end].encode())
            self.wfile.flush()
            time.sleep(silent_seconds)
            with suppress(OSError):  # who asked may have left
                self.wfile.write(body[end:].encode())

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield f"{address}/v1", asked


def written(model: RemoteModel, stop: Event | None = None) -> str:
    return "".join(token.text for token in model.stream(ASKED, 20, stop or Event()))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "WAITS", (0.01, 0.01))


def test_an_answer_is_streamed_and_the_key_sent() -> None:
    with answering((200, events("Two ", "litres."))) as (address, asked):
        model = RemoteModel(f"{address}/", "chef", "secret")
        assert [token.text for token in model.stream(ASKED, 20, Event())] == ["Two ", "litres."]
    (request,) = asked
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["authorization"] == "Bearer secret"
    assert request["sent"] == {
        "model": "chef",
        "messages": [{"role": "user", "content": "How much water?"}],
        "max_tokens": 20,
        "temperature": 0,
        "stream": True,
    }


def test_something_else_is_asked_while_an_answer_is_streamed() -> None:
    with answering((200, events("Two ", "litres.")), (200, events("Yes"))) as (address, _):
        model = RemoteModel(address, "chef")
        stream = model.stream(ASKED, 20, Event())
        assert next(stream).text == "Two "
        assert [token.text for token in model.stream(ASKED, 1, Event())] == ["Yes"]
        assert [token.text for token in stream] == ["litres."]


def test_another_attempt_is_sampled_with_a_seed_of_its_own() -> None:
    with answering((200, events("Two litres."))) as (address, asked):
        model = RemoteModel(address, "chef")
        for attempt in (0, 1, 2):
            assert list(model.stream(ASKED, 20, Event(), attempt))
    sampling = [(request["sent"]["temperature"], request["sent"].get("seed")) for request in asked]
    assert sampling == [(0, None), (openai_client.TEMPERATURE, 1), (openai_client.TEMPERATURE, 2)]


def test_a_turn_that_was_begun_is_not_sent() -> None:
    with answering((200, events("Yes. ", "Two litres."))) as (address, asked):
        begun = [*ASKED, Message("assistant", ("Yes. The passage states that",))]
        assert list(RemoteModel(address, "chef").stream(begun, 20, Event()))
    assert [message["role"] for message in asked[0]["sent"]["messages"]] == ["user"]


def test_the_first_model_is_taken_when_none_is_named() -> None:
    with answering((200, json.dumps({"data": [{"id": "chef"}, {"id": "gardener"}]}))) as (address, _):
        assert RemoteModel(address).name == "chef"


def test_sentences_are_checked_and_cited_as_with_any_model(knowledge: Path, tmp_path: Path) -> None:
    embedder = HashEmbedder()
    build(knowledge, tmp_path / "index", embedder)
    retriever = Retriever(KnowledgeIndex(tmp_path / "index", embedder.name), embedder)
    with answering((200, events(TRUE, " Bananas grow", " on Mars."))) as (address, _):
        assistant = Assistant(retriever, embedder, RemoteModel(address, "chef"))
        answer = assistant.ask("How much water do tomatoes need every day in summer?")
    assert TRUE in answer.text
    assert "Mars" not in answer.text
    assert answer.withheld == 1
    assert answer.citations[0].quote == TRUE


def test_a_busy_server_is_asked_again_before_the_first_token() -> None:
    with answering((503, "busy"), (429, "busy"), (200, events("Here."))) as (address, asked):
        assert written(RemoteModel(address, "chef")) == "Here."
    assert len(asked) == 3


def test_after_the_first_token_nothing_is_asked_again() -> None:
    body = events("Two ", "litres.").removesuffix("data: [DONE]\n\n")
    with answering((200, body), cut=True) as (address, asked):
        pieces = RemoteModel(address, "chef").stream(ASKED, 20, Event())
        assert [next(pieces).text, next(pieces).text] == ["Two ", "litres."]
        with pytest.raises(ModelError, match="does not answer"):
            next(pieces)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((401, "who are you?"), "set ASSISTANT_MODEL_KEY"),
        ((404, "not here"), "refuses (404: not here)"),
        ((400, "too long"), "refuses (400: too long)"),
        ((503, "busy"), "refuses (503: busy)"),
        ((302, ""), "refuses (302"),
        ((200, "<html>hello</html>"), "no answer in the OpenAI format"),
        ((200, ""), "no answer in the OpenAI format"),
        ((200, "data: {broken\n\n"), "no answer in the OpenAI format"),
        ((200, 'data: {"error": {"message": "out of memory"}}\n\n'), "refuses (out of memory)"),
        ((200, 'data: {"choices": [7]}\n\n'), "no answer in the OpenAI format"),
    ],
)
def test_what_is_no_answer_is_said_with_the_remedy(reply: Reply, message: str) -> None:
    with answering(reply) as (address, _), pytest.raises(ModelError) as error:
        written(RemoteModel(address, "chef"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_is_gone_is_said_with_the_remedy() -> None:
    with answering((200, "")) as (address, _):
        pass
    for ask in (lambda: RemoteModel(address), lambda: written(RemoteModel(address, "chef"))):
        with pytest.raises(ModelError, match="start its server, or set ASSISTANT_MODEL"):
            ask()


def test_what_is_no_address_is_said_too() -> None:
    with pytest.raises(ModelError, match="does not answer"):
        written(RemoteModel("http://[::1/v1", "chef"))


def test_a_silent_server_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "SILENCE_SECONDS", 0.2)
    slow = answering((200, events("One ", "two.")), silent_seconds=0.6)
    with slow as (address, _), pytest.raises(ModelError, match="does not answer"):
        written(RemoteModel(address, "chef"))


def test_a_stop_is_noticed_while_the_server_is_silent() -> None:
    stop = Event()
    with answering((200, events("One ", "two.")), silent_seconds=1.0) as (address, _):
        Timer(0.1, stop.set).start()
        started = time.monotonic()
        assert "two." not in written(RemoteModel(address, "chef"), stop)
        assert time.monotonic() - started < 0.8


def test_doctor_says_whether_the_server_answers_and_has_the_model(settings: Settings) -> None:
    def model_of(settings: Settings) -> tuple[bool, str, str]:
        finding = next(finding for finding in examine(settings) if finding.name == "model")
        return finding.works, finding.detail, finding.remedy

    with answering((200, json.dumps({"data": [{"id": "chef"}]}))) as (address, _):
        works, detail, _ = model_of(replace(settings, model=address))
        assert works
        assert detail.startswith("chef at ")
        works, _, remedy = model_of(replace(settings, model=address, model_name="waiter"))
        assert not works
        assert "ASSISTANT_MODEL_NAME" in remedy
    works, _, remedy = model_of(replace(settings, model=address))
    assert not works
    assert "start its server" in remedy


def test_a_real_server_of_llama_cpp(weights_cache: Path, settings: Settings) -> None:
    command = [sys.executable, "-c", SERVER, str(weights_cache / "weights" / TABLE["smollm2-135m"].file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = f"{server.stdout.readline().strip()}/v1"
        model = load_model(replace(settings, model=address), lambda _: None)
        asked = [Message("user", ("What is the capital of France? Answer in one word.",))]
        assert "Paris" in "".join(token.text for token in model.stream(asked, 12, Event()))
        answers = {"".join(token.text for token in model.stream(TALE, 20, Event(), attempt)) for attempt in range(4)}
        assert len(answers) > 1, "each attempt is worded in its own way"
        server.communicate(timeout=20)
