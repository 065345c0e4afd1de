"""A model behind an address: any server that speaks the OpenAI format (llama.cpp, vLLM, Ollama, a provider).

Passages and questions leave this machine when the address does. Such a server takes text, not tokens: it fills the
chat template itself, keeps no passages for us, and how many tokens a text has is an estimate here. A request is tried
again only while nothing of the answer has come. This module does not know what is asked, and follows no redirect.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import aclosing
from threading import Event
from typing import Any, TypeVar

import httpx

from assistant.errors import ModelError
from assistant.llm.template import as_sent
from assistant.schemas import Bias, Message, Token

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""A server that sends nothing for so long counts as gone."""
WAITS = (0.5, 2.0)
"""Seconds before the second try and the third, which is the last."""
POLL_SECONDS = 0.1
"""How soon a stop is noticed while the server is silent."""
CHARACTERS_A_TOKEN = 3.5
"""A rough mean of English text; what is counted by it is only told."""
TEMPERATURE = 0.7

Result = TypeVar("Result")
_BUSY = frozenset({429, 500, 502, 503, 504})
_REFUSED = frozenset({401, 403})


class RemoteModel:
    """One model of one server; safe to share between threads.

    Args:
        address: ends in ``/v1``.
        name: which of the server's models; "" for the first that it lists.
        key: sent as a bearer token; "" for none.

    Raises:
        ModelError: ``name`` is empty and the server cannot be asked.
    """

    def __init__(self, address: str, name: str = "", key: str = "") -> None:
        self.is_concurrent = True
        self._address = address.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        self.name = name or self.names()[0]

    def names(self) -> list[str]:
        """The server's models; at least one.

        Raises:
            ModelError: it is gone, wants another key, or lists none.
        """
        try:
            reply = httpx.get(f"{self._address}/models", headers=self._headers, timeout=CONNECT_SECONDS)
            if reply.status_code != httpx.codes.OK:
                raise self._refusal(reply.status_code, reply.text)
            names = [str(model["id"]) for model in reply.json()["data"]]
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise self._gone(error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._nonsense() from error
        if not names:
            raise ModelError(f"The server at {self._address} lists no model: set ASSISTANT_MODEL_NAME.")
        return names

    def stream(
        self, messages: Sequence[Message], max_tokens: int, stop: Event, attempt: int = 0, bias: Bias = ()
    ) -> Iterator[Token]:
        """Decode greedily, or sampled where ``attempt`` is not 0, as far as the server does; a stop disconnects.

        ``bias`` is left out: which number a token has, only the server knows.

        Raises:
            ModelError: the server is gone, busy, silent, refuses, or sends what is no answer.
        """
        # about so many tokens: how many it really has, the server keeps to itself
        prompt = int(sum(len(message.text) for message in messages) / CHARACTERS_A_TOKEN) + 1
        request = {**self._request(messages, max_tokens, attempt), "stream": True}
        with asyncio.Runner() as runner:
            pieces = self._pieces(request)
            try:
                while (piece := runner.run(_next(pieces, stop))) is not None:
                    yield Token(piece, prompt, 0)
            finally:
                runner.run(pieces.aclose())

    def read_ahead(self, messages: Sequence[Message], stop: Event) -> bool:
        """Nothing is kept here: what the server keeps is its own affair."""
        return False

    def close(self) -> None:
        """Nothing is held between requests."""

    def _request(self, messages: Sequence[Message], max_tokens: int, attempt: int) -> dict[str, Any]:
        sampling = {"temperature": TEMPERATURE, "seed": attempt} if attempt else {"temperature": 0}
        return {"model": self.name, "messages": as_sent(messages), "max_tokens": max_tokens, **sampling}

    async def _pieces(self, request: dict[str, Any]) -> AsyncGenerator[str, None]:
        """The texts of a stream of server-sent events."""
        is_answer = False
        async with aclosing(self._lines(request)) as lines:
            async for line in lines:
                if not line.startswith("data:"):
                    continue
                data = line.removeprefix("data:").strip()
                is_answer = True
                if data == "[DONE]":
                    return
                yield self._text(data)
        if not is_answer:
            raise self._nonsense()

    def _text(self, data: str) -> str:
        try:
            event = json.loads(data)
            if event.get("error"):
                raise self._refusal(0, str(event["error"].get("message", event["error"])))
            choices = event["choices"]
            return str(choices[0]["delta"].get("content") or "") if choices else ""
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise self._nonsense() from error

    async def _lines(self, request: dict[str, Any]) -> AsyncGenerator[str, None]:
        """The lines of the reply; asked again while none has come and the server is gone or busy."""
        async with httpx.AsyncClient(headers=self._headers, timeout=self._timeout) as client:
            for wait in (*WAITS, None):
                has_begun = False
                try:
                    async with client.stream("POST", f"{self._address}/chat/completions", json=request) as reply:
                        if reply.status_code in _BUSY and wait is not None:
                            await asyncio.sleep(wait)
                            continue
                        if reply.status_code != httpx.codes.OK:
                            raise self._refusal(reply.status_code, (await reply.aread()).decode(errors="replace"))
                        async for line in reply.aiter_lines():
                            has_begun = True
                            yield line
                    return
                except (httpx.InvalidURL, UnicodeError) as error:
                    raise self._gone(error) from error
                except httpx.HTTPError as error:
                    # a server that is slow would only have more to do
                    if has_begun or wait is None or isinstance(error, httpx.ReadTimeout):
                        raise self._gone(error) from error
                    await asyncio.sleep(wait)

    def _gone(self, error: Exception) -> ModelError:
        reason = str(error) or type(error).__name__
        return ModelError(
            f"The model at {self._address} does not answer ({reason}): start its server, or set ASSISTANT_MODEL to "
            "another model."
        )

    def _refusal(self, status: int, body: str) -> ModelError:
        if status in _REFUSED:
            return ModelError(f"The server at {self._address} refuses the key: set ASSISTANT_MODEL_KEY to its own.")
        reason = " ".join(body.split())[:200]
        code = f"{status}: " if status else ""
        return ModelError(f"The server at {self._address} refuses ({code}{reason}): see what its log says.")

    def _nonsense(self) -> ModelError:
        return ModelError(
            f"What {self._address} sends is no answer in the OpenAI format: set ASSISTANT_MODEL to an address that "
            "ends in /v1."
        )


async def _next(pieces: AsyncGenerator[str, None], stop: Event) -> str | None:
    """The next piece; ``None`` at the end, or when ``stop`` is set."""

    async def piece() -> str | None:
        return await anext(pieces, None)

    return await _unless(piece(), stop)


async def _unless(awaited: Coroutine[Any, Any, Result], stop: Event) -> Result | None:
    """What is awaited, or ``None`` as soon as ``stop`` is set."""
    task = asyncio.ensure_future(awaited)
    while not task.done():
        if stop.is_set():
            task.cancel()
            await asyncio.wait({task})
            return None
        await asyncio.wait({task}, timeout=POLL_SECONDS)
    return task.result()
