"""Free memory goes back to the system."""

from __future__ import annotations

import os
import sys

import pytest

from assistant.llm.memory import give_back
from evaluation.load import resident_megabytes


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives memory back when asked")
def test_what_lies_free_between_what_is_kept_is_given_back() -> None:
    # blocks of 100 kB stay in the heap when they are freed, as long as one that is kept lies behind them
    blocks = [bytes([n % 255 + 1]) * 100_000 for n in range(2_000)]
    kept = blocks[::50]
    del blocks
    before = resident_megabytes(os.getpid())
    give_back()
    assert resident_megabytes(os.getpid()) < before - 100
    assert len(kept) == 40
