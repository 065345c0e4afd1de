"""Free memory goes back to the system."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from assistant.memory import give_back


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives memory back when asked")
def test_what_lies_free_between_what_is_kept_is_given_back() -> None:
    # blocks of 100 kB stay in the heap when they are freed, as long as one that is kept lies behind them
    blocks = [bytes([n % 255 + 1]) * 100_000 for n in range(2_000)]
    kept = blocks[::50]
    del blocks
    before = _resident()
    give_back()
    assert _resident() < before - 100
    assert len(kept) == 40


def _resident() -> int:
    """Megabytes in memory that belong to this process alone."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert match
    return int(match[1]) // 1000
