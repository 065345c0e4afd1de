"""`Progress` → one line on standard error: what is done, how much of it, how fast.

On a terminal the line is drawn over itself; elsewhere it is printed at most every ten seconds.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType

from assistant.schemas import Progress

WIDTH = 24
QUIET_SECONDS = 10.0


def describe(progress: Progress) -> str:
    """``Fetching x: 512 MB of 1117 MB``, for a page that has its own bar."""
    if not progress.total:
        return progress.step
    if progress.unit == "bytes":
        return f"{progress.step}: {progress.done / 1e6:.0f} MB of {progress.total / 1e6:.0f} MB"
    return f"{progress.step}: {progress.done:,} of {progress.total:,} {progress.unit}"


class ProgressBar:
    """Draws progress; use it in a ``with`` block, which ends the line."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._step = ""
        self._started = self._printed = 0.0
        self._first = 0
        self._open = False

    def show(self, progress: Progress) -> None:
        """Draw this state."""
        now = time.monotonic()
        if progress.step != self._step:
            self._end_line()
            self._step, self._started, self._first, self._printed = progress.step, now, progress.done, 0.0
        whole = progress.done >= progress.total
        if not self._terminal and now - self._printed < QUIET_SECONDS and not whole:
            return
        self._printed = now
        line = self._line(progress, now)
        if self._terminal:
            print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)
            self._open = True
        else:
            print(line, file=sys.stderr, flush=True)

    def _line(self, progress: Progress, now: float) -> str:
        text = describe(progress)
        if not progress.total:
            return text
        filled = WIDTH * progress.done // progress.total
        speed = (progress.done - self._first) / max(now - self._started, 1e-6)
        rate = f"{speed / 1e6:.1f} MB/s" if progress.unit == "bytes" else f"{speed:.0f}/s"
        return f"{text} [{'█' * filled}{'·' * (WIDTH - filled)}] {rate}"

    def _end_line(self) -> None:
        if self._open:
            print(file=sys.stderr)
            self._open = False

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_line()
