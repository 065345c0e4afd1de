"""How long the threads that compute wait busily for their next piece of work.

torch and llama.cpp each bring a copy of GNU's OpenMP library, whose threads spin for about a millisecond where one
waits for another, some hundred times a token. That is best where every thread has a core of its own. Where a core is
shared, with the other library's threads, another reader's embedding or another program, the one who waits spins on the
core that the one who is waited for needs, and an answer is written at a fifth of the speed.
So they spin long enough for what is nearly done, and then sleep.

This module does not know how many threads there are, nor other systems' OpenMP libraries, which do not read this.
"""

from __future__ import annotations

import os

SPINS = 3_000
"""Rounds; GNU's own choice is 300,000."""


def wait_briefly() -> None:
    """Choose this for libraries that are loaded from now on, unless the user has chosen."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
