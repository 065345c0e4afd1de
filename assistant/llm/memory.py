"""Memory that is free, back to the system.

Every question takes and frees blocks of all sizes (states of passages, tensors), and the C library keeps the gaps. This
module knows nothing of what takes them.
"""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give back what is free, where the C library can (glibc); elsewhere nothing happens."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    trim = getattr(library, "malloc_trim", None)
    if trim:
        trim(0)
