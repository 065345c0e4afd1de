"""`/mcp`: the tools `ask` and `search` for other assistants, over the Model Context Protocol's official SDK.

Every request stands alone (streamable HTTP without sessions), so a client has nothing to guess and nothing to lose. A
client that leaves ends the work. Nothing but the two tools is here: no resource, no prompt, no setting.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from threading import Event
from typing import Any, cast

import mcp.types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from assistant.errors import QuestionError
from assistant.pipeline import Assistant
from assistant.query import checked
from assistant.schemas import Answer, SearchResult
from assistant.settings import Settings
from assistant.web.api import Api, Refused, cited
from assistant.web.line import Line

MOST_RESULTS = 20
SEARCHES = 2
"""Searches at the same time; they keep a core busy each."""
_QUESTION = {"type": "string", "description": "One question in plain words."}
_CITATION = {"type": "object", "description": "number, document, title, quote, lines and address of its source"}
TOOLS = (
    mcp.types.Tool(
        name="ask",
        description="Answer a question from the documents. Every sentence is supported by a passage and cited; what "
        "the documents do not say is refused.",
        inputSchema={"type": "object", "properties": {"question": _QUESTION}, "required": ["question"]},
        outputSchema={
            "type": "object",
            "properties": {
                "answer": {"type": "string"},
                "refused": {"type": "boolean"},
                "citations": {"type": "array", "items": _CITATION},
                "suggestions": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["answer", "refused", "citations"],
        },
    ),
    mcp.types.Tool(
        name="search",
        description="The passages of the documents that are nearest to a question, best first, without an answer.",
        inputSchema={
            "type": "object",
            "properties": {
                "question": _QUESTION,
                "count": {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS, "default": 5},
            },
            "required": ["question"],
        },
        outputSchema={
            "type": "object",
            "properties": {"results": {"type": "array", "items": {"type": "object"}}},
            "required": ["results"],
        },
    ),
)

Result = tuple[list[mcp.types.TextContent], dict[str, Any]]
"""What a tool gives: to be read, and as data."""


class Tools:
    """The tools, behind the same key and in the same line as `/v1`."""

    def __init__(self, settings: Settings, api: Api, line: Line) -> None:
        self._api = api
        self._line = line
        self._searching = asyncio.Semaphore(SEARCHES)
        self._server: Server[None, Any] = Server("groundwork", instructions=settings.greeting)
        self._server.list_tools()(self._list)  # type: ignore[no-untyped-call]
        self._server.call_tool()(self._call)

    def route(self) -> Route:
        """`POST /mcp`."""
        return Route("/mcp", _Endpoint(self._api, self._server), methods=["POST"])

    async def _list(self) -> list[mcp.types.Tool]:
        return list(TOOLS)

    async def _call(self, name: str, arguments: dict[str, Any]) -> Result:
        """What is raised here reaches the client as the tool's error, with its message."""
        assistant = self._api.ready()
        question = checked(str(arguments["question"]))
        request = cast(Request, self._server.request_context.request)
        self._api.count(request)
        if name == "search":
            async with self._searching:
                results = await asyncio.to_thread(assistant.retriever.search, question, int(arguments.get("count", 5)))
            return _found(results)
        if name != "ask":
            raise QuestionError(f"There is no tool {name}: use ask or search.")
        if not await self._line.enter():
            self._api.give_back(request)
            raise QuestionError(self._line.refusal)
        try:
            return _answered(await self._answer(assistant, question))
        finally:
            self._line.leave()

    async def _answer(self, assistant: Assistant, question: str) -> Answer:
        stop = Event()
        answer, _ = await self._line.whole(assistant.stream(question, (), stop), stop)
        if not answer.text:  # cut off before its first sentence
            raise QuestionError(self._line.refusal)
        return answer


def _answered(answer: Answer) -> Result:
    sources = [f"[{c.number}] {c.title}, {c.address}: “{' '.join(c.quote.split())}”" for c in answer.citations]
    text = "\n".join([answer.text, *([""] if sources else []), *sources])
    data = {
        "answer": answer.text,
        "refused": answer.refused,
        "citations": cited(answer.citations),
        "suggestions": list(answer.suggestions),
    }
    return [mcp.types.TextContent(type="text", text=text)], data


def _found(results: list[SearchResult]) -> Result:
    passages = [
        {**asdict(result.chunk), "score": result.score, "headings": result.chunk.heading_path} for result in results
    ]
    text = "\n\n".join(f"{result.chunk.heading_path}\n{result.chunk.text}" for result in results)
    return [mcp.types.TextContent(type="text", text=text or "Nothing is near this question.")], {"results": passages}


class _Endpoint:
    """One request: the key, then the SDK, which is stopped when the client leaves."""

    def __init__(self, api: Api, server: Server[None, Any]) -> None:
        self._api = api
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it."""
        request = Request(scope, receive)
        try:
            self._api.admit(request)
        except Refused as refused:
            await refused.response()(scope, receive, send)
            return
        try:
            body = await request.body()
        except ClientDisconnect:  # nobody is there to be told
            return

        async def replayed() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        answering = asyncio.ensure_future(self._handle(scope, replayed, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not answering.done():
                answering.cancel()
            await asyncio.wait({answering, leaving})
        if not answering.cancelled():
            answering.result()

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        manager = StreamableHTTPSessionManager(self._server, json_response=True, stateless=True)
        async with manager.run():
            await manager.handle_request(scope, receive, send)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
