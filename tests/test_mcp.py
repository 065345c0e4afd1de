"""The tools for other assistants, asked by the official client of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.middleware import Middleware

from assistant.settings import Settings
from assistant.web.api import Api
from assistant.web.guard import Guard, Sharing
from assistant.web.limits import Limits
from assistant.web.line import BUSY, READERS, WAITING, Line
from assistant.web.mcp import Tools
from tests.fakes import ScriptedModel
from tests.test_api import Endless, free
from tests.test_web import prepared

QUESTION = "How long does bread bake, and at how many degrees?"
TRUE = "Bread bakes for forty minutes at 230 degrees."
ADDRESS = "http://127.0.0.1:7860"
BODY = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "ask", "arguments": {"question": QUESTION}},
}
ACCEPT = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


class Door:
    """The app with the tools; ``model`` writes what it is told."""

    def __init__(self, settings: Settings, model: ScriptedModel | None = None) -> None:
        self.line = Line()
        self.model = model or ScriptedModel(f"{TRUE} Bananas grow on Mars.")
        self.preparation = prepared(settings, self.model)
        api = Api(settings, self.preparation, self.line, Limits(settings))
        self.app = Starlette(
            routes=[Tools(settings, api, self.line).route()],
            middleware=[Middleware(Sharing, settings=settings), Middleware(Guard, settings=settings)],
        )

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=ADDRESS, headers=headers)

    @asynccontextmanager
    async def session(self, **headers: str) -> AsyncIterator[ClientSession]:
        async with (
            self.client(**headers) as http,
            streamable_http_client(f"{ADDRESS}/mcp", http_client=http) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            yield session

    def asked(self, ask: Callable[[ClientSession], Awaitable[Any]], **headers: str) -> Any:
        async def run() -> Any:
            async with self.session(**headers) as session:
                return await ask(session)

        return asyncio.run(run())


def test_only_the_two_tools_are_there(settings: Settings) -> None:
    listed = Door(settings).asked(lambda session: session.list_tools())
    assert sorted(tool.name for tool in listed.tools) == ["ask", "search"]


def test_an_answer_comes_with_its_sources(settings: Settings) -> None:
    result = Door(settings).asked(lambda session: session.call_tool("ask", {"question": QUESTION}))
    assert not result.isError
    said = result.structuredContent
    assert said["answer"].startswith(f"{TRUE} [1]")
    assert "Mars" not in said["answer"]
    assert not said["refused"]
    assert said["citations"][0]["quote"] == TRUE
    assert said["citations"][0]["address"].startswith("documents/bread.md")
    assert f"[1] Baking bread, {said['citations'][0]['address']}: “{TRUE}”" in result.content[0].text


def test_a_search_gives_passages_and_asks_no_model(settings: Settings) -> None:
    door = Door(settings)
    result = door.asked(lambda session: session.call_tool("search", {"question": QUESTION, "count": 2}))
    passages = result.structuredContent["results"]
    assert len(passages) == 2
    assert (passages[0]["document"], passages[0]["headings"]) == ("bread.md", "Baking bread: Baking")
    assert TRUE in passages[0]["text"]
    assert door.model.prompts == []


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("ask", {"question": "  "}, "The question is empty"),
        ("ask", {"question": "x" * 3_000}, "shorten it"),
        ("ask", {}, "'question' is a required property"),
        ("ask", {"question": 7}, "is not of type 'string'"),
        ("search", {"question": "bread", "count": 1_000}, "greater than the maximum"),
        ("read_file", {"question": "/etc/passwd"}, "There is no tool read_file"),
    ],
)
def test_what_cannot_be_answered_is_said(
    settings: Settings, tool: str, arguments: dict[str, Any], message: str
) -> None:
    result = Door(settings).asked(lambda session: session.call_tool(tool, arguments))
    assert result.isError
    assert message in result.content[0].text


def test_a_full_line_is_said(settings: Settings) -> None:
    door = Door(settings)
    door.line.waiting = WAITING
    result = door.asked(lambda session: session.call_tool("ask", {"question": QUESTION}))
    assert result.isError
    assert result.content[0].text == BUSY


def test_who_asks_too_much_is_told_when_to_come_back(settings: Settings) -> None:
    door = Door(replace(settings, questions_a_minute=1))
    results = [door.asked(lambda session: session.call_tool("ask", {"question": QUESTION})) for _ in range(2)]
    assert [result.isError for result in results] == [False, True]
    assert "ask again in" in results[1].content[0].text


def test_the_key_is_asked_for_here_too(settings: Settings) -> None:
    door = Door(replace(settings, api_key="secret"))

    async def status(**headers: str) -> int:
        async with door.client(**headers) as client:
            return (await client.post("/mcp", json=BODY, headers=ACCEPT)).status_code

    assert asyncio.run(status()) == 401
    assert asyncio.run(status(Authorization="Bearer wrong")) == 401
    result = door.asked(lambda s: s.call_tool("ask", {"question": QUESTION}), Authorization="Bearer secret")
    assert not result.isError


def test_a_page_of_another_site_is_refused(settings: Settings) -> None:
    async def status() -> int:
        async with Door(settings).client(Origin="https://evil.example") as client:
            return (await client.post("/mcp", json=BODY, headers=ACCEPT)).status_code

    assert asyncio.run(status()) == 403


def test_a_client_that_leaves_ends_the_work(settings: Settings) -> None:
    model = Endless()
    door = Door(settings, model)
    sent: list[Any] = []
    headers = {**ACCEPT, "Content-Type": "application/json", "Host": "127.0.0.1:7860"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }

    async def ask_and_leave() -> None:
        messages = [{"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            while not model.begun:
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await door.app(scope, receive, send)

    asyncio.run(asyncio.wait_for(ask_and_leave(), 20))
    deadline = time.monotonic() + 5
    while not model.stopped and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (model.begun, model.stopped, sent) == (1, 1, [])
    assert free(door.line) == READERS
