"""Who is answered when: a few readers at a time, the others in a line, for all doors together.

A reader who stops or leaves makes room at once. This module knows nothing of pages or of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from assistant.types import AnswerEvent

READERS = 8
"""Readers who are answered at the same time."""
WAITING = 12
"""Readers who may wait; one more is asked to come back later."""
BUSY = "Many people are asking right now, and the line is full. Please ask again in a minute."


class Line:
    """Readers waiting for one of the places, first come, first served."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(READERS)
        self.waiting = 0

    async def enter(self) -> bool:
        """Wait for one's turn; ``False`` at once when the line is full."""
        if self.waiting >= WAITING:
            return False
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        return True

    def leave(self) -> None:
        """Let the next one in."""
        self._places.release()


_WORKERS = ThreadPoolExecutor(READERS, thread_name_prefix="reader")


async def in_thread(events: Iterator[AnswerEvent], stop: Event) -> AsyncIterator[AnswerEvent]:
    """The events of a generator that blocks, which runs in a thread; closing this one stops that one."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[AnswerEvent | Exception | None] = asyncio.Queue()

    def work() -> None:
        try:
            for event in events:
                loop.call_soon_threadsafe(queue.put_nowait, event)
            loop.call_soon_threadsafe(queue.put_nowait, None)
        except Exception as error:
            loop.call_soon_threadsafe(queue.put_nowait, error)

    worker = loop.run_in_executor(_WORKERS, work)
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stop.set()
        await asyncio.shield(worker)
