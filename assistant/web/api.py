"""`/v1/chat/completions` and `/v1/models`, as OpenAI's clients speak them.

The last message is the question, those before it are the conversation. What only an owner may choose (system prompt,
model, sampling) is not taken from a client: such fields are ignored. The citations ride in an extra field
``citations``, beside ``refused`` and ``query``: on the message, or on the last chunk of a stream; every other chunk has
the citations of its own sentence. Errors have OpenAI's shape. Readers stand in the same line as those of the page.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import uuid
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from threading import Event
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from assistant.errors import AssistantError, QuestionError
from assistant.pipeline import Assistant
from assistant.query import checked
from assistant.schemas import Answer, AnswerEvent, Citation, Conversation, Finished, Sentence, Turn
from assistant.settings import Settings
from assistant.startup import Preparation
from assistant.web.embed import embed_routes
from assistant.web.limits import TOO_MANY, Limits
from assistant.web.line import Line

SECONDS = 60
"""After which a client that was turned away may try again."""
GONE_SECONDS = 0.2
"""How often it is looked whether the client is still there."""


class Refused(Exception):
    """A request that is not answered: its status and what is wrong."""

    def __init__(self, status: int, message: str, code: str, seconds: int = SECONDS) -> None:
        super().__init__(message)
        self.status, self.code, self.seconds = status, code, seconds

    def response(self) -> Response:
        """The error in OpenAI's shape."""
        kind = "invalid_request_error" if self.status < 429 else "server_error"
        body = {"error": {"message": str(self), "type": kind, "param": None, "code": self.code}}
        headers = {"Retry-After": str(self.seconds)} if self.status in {429, 503} else {}
        return JSONResponse(body, status_code=self.status, headers=headers)


class Api:
    """The routes; they share the line with the page."""

    def __init__(self, settings: Settings, preparation: Preparation, line: Line, limits: Limits) -> None:
        self._settings = settings
        self._preparation = preparation
        self._line = line
        self._limits = limits

    def routes(self) -> list[Route]:
        """`/v1/models` and `/v1/chat/completions`, and those of the compact page."""
        return [
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/chat/completions", self._completions, methods=["POST"]),
            *embed_routes(self._settings, self._asked_by_page),
        ]

    async def _models(self, request: Request) -> Response:
        try:
            self.admit(request)
            model = self.ready().model.name
        except Refused as refused:
            return refused.response()
        listed = {"id": model, "object": "model", "created": 0, "owned_by": "groundwork"}
        return JSONResponse({"object": "list", "data": [listed]})

    async def _completions(self, request: Request) -> Response:
        try:
            self.admit(request)
        except Refused as refused:
            return refused.response()
        return await self._asked_by_page(request)

    async def _asked_by_page(self, request: Request) -> Response:
        try:
            assistant = self.ready()
            body = await _body(request)
            question, conversation = _asked(body)
            self.count(request)
            try:
                await self._enter(request)
            except BaseException:
                self.give_back(request)
                raise
        except Refused as refused:
            return refused.response()
        completion = _Completion(assistant, self._line, question, conversation)
        if body.get("stream"):
            options = body.get("stream_options")
            with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
            return _Stream(completion.stream(with_usage), self._line)
        try:
            return await completion.whole(request)
        finally:
            self._line.leave()

    async def _enter(self, request: Request) -> None:
        """Wait in the line; a client who goes away leaves it."""
        entering = asyncio.ensure_future(self._line.enter())
        try:
            while not (await asyncio.wait({entering}, timeout=GONE_SECONDS))[0]:
                if await request.is_disconnected():
                    entering.cancel()
        except asyncio.CancelledError:
            # let in at the same moment: the place is given back
            if not entering.cancel() and entering.result():
                self._line.leave()
            raise
        if entering.cancelled():
            raise Refused(499, "The client went away.", "gone")
        if not entering.result():
            status, code = (503, "stopping") if self._line.is_closed else (429, "rate_limit_exceeded")
            raise Refused(status, self._line.refusal, code)

    def give_back(self, request: Request) -> None:
        """Take back the count of a question that was not let in."""
        self._limits.give_back(request)

    def count(self, request: Request) -> None:
        """Count a question, and refuse it to who has asked too many."""
        seconds = self._limits.wait(request)
        if seconds:
            self._line.monitor.turned_away("limit")
            raise Refused(429, TOO_MANY.format(seconds=seconds), "rate_limit_exceeded", seconds)

    def admit(self, request: Request) -> None:
        """Let pass who has the key, if there is one."""
        key = self._settings.api_key
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key and not hmac.compare_digest(given.encode(), key.encode()):
            raise Refused(401, "Send the API key of this assistant as a bearer token.", "invalid_api_key")

    def ready(self) -> Assistant:
        """The assistant, once there is one."""
        if self._preparation.assistant is None:
            raise Refused(503, "The assistant is starting: try again in a minute.", "starting")
        return self._preparation.assistant


class _Stream(StreamingResponse):
    """A stream that gives its place in the line back at its end, also when the client left before its beginning."""

    def __init__(self, chunks: AsyncGenerator[str, None], line: Line) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._chunks = chunks
        self._line = line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._chunks.aclose()
            self._line.leave()


class _Completion:
    """One question on its way through this door."""

    def __init__(self, assistant: Assistant, line: Line, question: str, conversation: Conversation) -> None:
        self._assistant = assistant
        self._line = line
        self._question = question
        self._conversation = conversation
        self._stop = Event()
        self._frame = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": assistant.model.name}

    async def whole(self, request: Request) -> Response:
        """The answer in one piece; the work ends when the client goes away."""
        watch = asyncio.ensure_future(self._watch(request))
        try:
            answer, is_cut = await self._line.whole(self._answering(), self._stop)
        except AssistantError as error:
            return Refused(500, str(error), "failed").response()
        finally:
            watch.cancel()
        if is_cut and not answer.text:
            return Refused(503, self._line.refusal, "stopping").response()
        message = {"role": "assistant", "content": answer.text, **_extra(answer)}
        choice = {"index": 0, "message": message, "finish_reason": _reason(is_cut), "logprobs": None}
        return JSONResponse(
            {**self._frame, "object": "chat.completion", "choices": [choice], "usage": _usage(answer), **_extra(answer)}
        )

    async def stream(self, with_usage: bool) -> AsyncGenerator[str, None]:
        """The answer sentence by sentence, as server-sent events."""
        yield self._chunk({"role": "assistant", "content": ""})
        try:
            async with aclosing(self._line.answering(self._answering(), self._stop)) as events:
                async for event in events:
                    if isinstance(event, Sentence):
                        yield self._chunk({"content": event.text}, citations=cited(event.citations))
                    elif isinstance(event, Finished):
                        answer, is_cut = event.answer, self._stop.is_set()
            if answer.refused:
                yield self._chunk({"content": answer.text})
            elif not answer.text:
                yield self._chunk({"content": self._line.refusal})
            yield self._chunk({}, finish_reason=_reason(is_cut), **_extra(answer))
            if with_usage:
                yield _event({**self._frame, "object": "chat.completion.chunk", "choices": [], "usage": _usage(answer)})
        except AssistantError as error:
            yield _event(json.loads(bytes(Refused(500, str(error), "failed").response().body)))
        yield "data: [DONE]\n\n"

    def _answering(self) -> Generator[AnswerEvent, None, None]:
        return self._assistant.stream(self._question, self._conversation, self._stop)

    async def _watch(self, request: Request) -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(GONE_SECONDS)
        self._stop.set()

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **extra: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return _event({**self._frame, "object": "chat.completion.chunk", "choices": [choice], **extra})


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The body is not JSON: send an object with `messages`.", "invalid_json") from error
    if not isinstance(body, dict):
        raise Refused(400, "The body is not an object: send one with `messages`.", "invalid_json")
    return body


def _asked(body: dict[str, Any]) -> tuple[str, Conversation]:
    """The question and what was said before it; a client's system messages are left out."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "`messages` is missing: send a list whose last message is the question.", "invalid_messages")
    turns = [turn for turn in map(_turn, messages) if turn]
    if not turns or turns[-1].role != "user":
        raise Refused(400, "The last of `messages` must be of the user: the question.", "invalid_messages")
    try:
        return checked(turns[-1].content), tuple(turns[:-1])
    except QuestionError as error:
        raise Refused(400, str(error), "invalid_question") from error


def _turn(message: Any) -> Turn | None:
    role = str(message.get("role")) if isinstance(message, dict) else ""
    if role in {"system", "developer", "tool", "function"}:
        return None
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):  # parts, of which only text is read
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "\n".join(str(part.get("text", "")) for part in parts)
    if role == "assistant" and content is None:
        content = ""
    if role not in {"user", "assistant"} or not isinstance(content, str):
        raise Refused(400, "Each of `messages` needs a `role` and a `content` of text.", "invalid_messages")
    # half of a character, which cannot be sent back
    content = content.encode("utf-8", "replace").decode()
    return Turn("user" if role == "user" else "assistant", content)


def _reason(is_cut: bool) -> str:
    """Why an answer ends, in OpenAI's words: of its own, or because the server is stopping."""
    return "length" if is_cut else "stop"


def _extra(answer: Answer) -> dict[str, Any]:
    return {
        "citations": cited(answer.citations),
        "refused": answer.refused,
        "query": answer.query,
        "suggestions": list(answer.suggestions),
    }


def cited(citations: Sequence[Citation]) -> list[dict[str, Any]]:
    """Citations as JSON."""
    return [{**asdict(citation), "address": citation.address} for citation in citations]


def _usage(answer: Answer) -> dict[str, Any]:
    timings = answer.timings
    return {
        "prompt_tokens": timings.prompt_tokens,
        "completion_tokens": timings.answer_tokens,
        "total_tokens": timings.prompt_tokens + timings.answer_tokens,
        "prompt_tokens_details": {"cached_tokens": timings.reused_tokens},
    }


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
