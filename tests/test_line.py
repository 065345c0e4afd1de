"""The line: work in a thread ends, whatever becomes of the loop that waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from assistant.schemas import AnswerEvent, Sentence
from assistant.web.line import Line


def test_work_ends_also_where_the_loop_has_ended_before(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def events() -> Generator[AnswerEvent, None, None]:
        try:
            yield Sentence("Never heard.", ())
        finally:
            ended.set()

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        tell = loop.call_soon_threadsafe

        def closed(callback: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
            if getattr(callback, "__name__", "") == "put_nowait":
                raise RuntimeError("Event loop is closed")
            return tell(callback, *arguments, **options)

        monkeypatch.setattr(loop, "call_soon_threadsafe", closed)
        answering = Line().answering(events(), threading.Event())
        reader = asyncio.ensure_future(anext(answering))
        assert await asyncio.to_thread(ended.wait, 5)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)

    asyncio.run(ask())
