"""Who is answered when: a few readers at a time, the others in a line, for all doors together.

A reader who stops or leaves makes room at once. This module knows nothing of pages or of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from contextvars import copy_context
from threading import Event

from assistant.errors import QuestionError
from assistant.schemas import Answer, AnswerEvent, Finished
from assistant.web.monitor import Monitor

READERS = 8
"""Readers who are answered at the same time."""
WAITING = 12
"""Readers who may wait; one more is asked to come back later."""
BUSY = "Many people are asking right now, and the line is full. Please ask again in a minute."
CLOSED = "The assistant is stopping, and takes no more questions. Please ask again in a minute."


class Line:
    """Readers waiting for one of the places, first come, first served; what becomes of each is told to ``monitor``."""

    def __init__(self, monitor: Monitor | None = None) -> None:
        self._places = asyncio.Semaphore(READERS)
        self._stops: set[Event] = set()
        self.is_closed = self._is_stopped = False
        self.waiting = self.running = 0
        self.monitor = monitor or Monitor()
        self.monitor.watch("waiting", "Readers in the line", lambda: self.waiting)
        self.monitor.watch("running", "Readers who are being answered", lambda: self.running)

    async def enter(self) -> bool:
        """Wait for one's turn; ``False`` at once when the line is full or closed."""
        if self.is_closed or self.waiting >= WAITING:
            self.monitor.turned_away("closing" if self.is_closed else "full")
            return False
        self.waiting += 1
        try:
            await self._places.acquire()
            self.running += 1
        finally:
            self.waiting -= 1
        if self._is_stopped:
            self.leave()
            self.monitor.turned_away("closing")
        return not self._is_stopped

    def leave(self) -> None:
        """Let the next one in."""
        self.running -= 1
        self._places.release()

    def close(self) -> None:
        """Let nobody in any more; who is in the line, or being answered, stays."""
        self.is_closed = True

    def stop(self) -> None:
        """End all work at once, also of those who wait; each reader gets what is there so far."""
        self._is_stopped = True
        for stop in tuple(self._stops):
            stop.set()

    @property
    def refusal(self) -> str:
        """What is said to those who were not let in."""
        return CLOSED if self.is_closed else BUSY

    @property
    def is_empty(self) -> bool:
        """Whether nobody is waiting or being answered."""
        return not self.waiting and not self.running

    async def answering(
        self, events: Generator[AnswerEvent, None, None], stop: Event
    ) -> AsyncGenerator[AnswerEvent, None]:
        """The events of an answer for a reader who has entered; closing this stops the work on it."""
        is_told = False
        self._stops.add(stop)
        if self._is_stopped:
            stop.set()
        try:
            async with aclosing(_in_thread(events, stop)) as answering:
                async for event in answering:
                    if isinstance(event, Finished) and not stop.is_set():
                        is_told = True
                        self.monitor.answered(event.answer)
                    yield event
        except QuestionError:  # the asker's, and no fault
            is_told = True
            raise
        except Exception as error:
            is_told = True
            self.monitor.failed(error)
            raise
        finally:
            self._stops.discard(stop)
            if not is_told:
                self.monitor.left()

    async def whole(self, events: Generator[AnswerEvent, None, None], stop: Event) -> tuple[Answer, bool]:
        """The answer at the end of `answering`, and whether it was cut off."""
        async with aclosing(self.answering(events, stop)) as answering:
            return [(event.answer, stop.is_set()) async for event in answering if isinstance(event, Finished)][-1]


_WORKERS = ThreadPoolExecutor(READERS, thread_name_prefix="reader")


async def _in_thread(events: Generator[AnswerEvent, None, None], stop: Event) -> AsyncGenerator[AnswerEvent, None]:
    """The events of a generator that blocks, which runs in a thread; closing this one stops that one."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[AnswerEvent | Exception | None] = asyncio.Queue()

    def work() -> None:
        # where the loop has ended, nothing can be told, and the work must end all the same
        with closing(events):
            try:
                for event in events:
                    loop.call_soon_threadsafe(queue.put_nowait, event)
                loop.call_soon_threadsafe(queue.put_nowait, None)
            except Exception as error:
                loop.call_soon_threadsafe(queue.put_nowait, error)

    # who asks is known to Gradio by the context, and to a lent GPU's share of the day by Gradio
    worker = loop.run_in_executor(_WORKERS, copy_context().run, work)
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stop.set()
        await asyncio.shield(worker)
