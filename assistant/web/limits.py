"""How much one address, and all together, may ask: so many questions a minute and a day. Kept in memory only.

Whose question it is, is decided by what the server knows: the address of the connection, or, behind proxies that the
owner has named, the address that the outermost of these saw. Nothing that a client can choose counts. Addresses of the
sixth version are taken by their first half, which one person has whole. This module knows nothing of questions.
"""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections.abc import Mapping
from typing import Any, Protocol

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from assistant.settings import Settings

EVERYBODY = "everybody"
PREFIX = 64
"""Bits of an address of the sixth version that one person has."""
TOO_MANY = "That were many questions. Please ask again in {seconds} seconds."


class Asking(Protocol):
    """A request, of Starlette's or of Gradio's."""

    @property
    def client(self) -> Any:
        """Has the address of the connection as ``host``, or is ``None``."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its ``items`` have every line, a name more than once if need be."""
        ...


# behind an address of the fourth version, or behind brackets
_PORT = re.compile(r"^(\[.*\]|[\d.]+):\d+$")


class Limits:
    """Counts questions."""

    def __init__(self, settings: Settings) -> None:
        self._proxies = settings.proxies
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._each = _windows(settings.questions_a_minute, settings.questions_a_day)
        self._all = _windows(0, settings.questions_a_day_in_all)

    def wait(self, request: Asking) -> int:
        """After how many seconds this connection may ask; 0 for now."""
        full = [(rule, whose) for rule, whose in self._rules(request) if not self._limiter.test(rule, whose)]
        if full:
            end = max(self._limiter.get_window_stats(rule, whose).reset_time for rule, whose in full)
            return max(1, math.ceil(end - time.time()))
        return 0

    def count(self, request: Asking) -> None:
        """Count one question of this connection, when it has been let in."""
        for rule, whose in self._rules(request):
            self._limiter.hit(rule, whose)

    def _rules(self, request: Asking) -> list[tuple[RateLimitItem, str]]:
        address = self._address(request)
        return [*((rule, address) for rule in self._each), *((rule, EVERYBODY) for rule in self._all)]

    def _address(self, request: Asking) -> str:
        """Each trusted proxy adds at the end whom it saw; what stands before that, anybody can have written."""
        peer = str(getattr(request.client, "host", "unknown"))
        # a proxy may add to the line that it got, or add a line of its own
        lines = [value for name, value in request.headers.items() if name.lower() == "x-forwarded-for"]
        seen = [part.strip() for part in ",".join(lines).split(",")]
        text = seen[-self._proxies] if 0 < self._proxies <= len(seen) else peer
        try:
            address = ipaddress.ip_address(_PORT.sub(r"\1", text).strip("[]").split("%")[0])
        except ValueError:
            return peer
        if isinstance(address, ipaddress.IPv6Address) and not address.ipv4_mapped:
            return str(ipaddress.ip_network((address, PREFIX), strict=False))
        return str(getattr(address, "ipv4_mapped", None) or address)


def _windows(a_minute: int, a_day: int) -> list[RateLimitItem]:
    kinds = ((RateLimitItemPerMinute, a_minute), (RateLimitItemPerDay, a_day))
    return [kind(most) for kind, most in kinds if most]
