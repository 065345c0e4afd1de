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
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from assistant.settings import Settings

MOST_ADDRESSES = 10_000
"""Addresses that are remembered; those that asked longest ago are forgotten first."""
MINUTE, DAY = 60.0, 86_400.0
EVERYBODY = "everybody"
PREFIX = 64
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


@dataclass(slots=True)
class _Window:
    """Questions counted since ``start``."""

    start: float
    count: int = 0


class Limits:
    """Counts questions; used from one event loop."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._proxies = settings.proxies
        rules = (
            ("address", MINUTE, settings.questions_a_minute),
            ("address", DAY, settings.questions_a_day),
            (EVERYBODY, DAY, settings.questions_a_day_in_all),
        )
        self._rules = [rule for rule in rules if rule[2]]
        self._windows: OrderedDict[tuple[str, float], _Window] = OrderedDict()

    def wait(self, request: Asking) -> int:
        """Count one question of this connection; 0 if it may be asked, or after how many seconds one may."""
        address, now = self._address(request), self._clock()
        windows = [
            (self._window(EVERYBODY if whose == EVERYBODY else address, length, now), length, most)
            for whose, length, most in self._rules
        ]
        waits = [window.start + length - now for window, length, most in windows if window.count >= most]
        if waits:
            return max(1, math.ceil(max(waits)))
        for window, _, _ in windows:
            window.count += 1
        return 0

    def give_back(self, request: Asking) -> None:
        """Take back the count of a question that was not let in."""
        address, now = self._address(request), self._clock()
        for whose, length, _ in self._rules:
            window = self._window(EVERYBODY if whose == EVERYBODY else address, length, now)
            window.count = max(0, window.count - 1)

    def _window(self, whose: str, length: float, now: float) -> _Window:
        window = self._windows.pop((whose, length), None)
        if window is None or now - window.start >= length:
            window = _Window(now)
        self._windows[whose, length] = window
        while len(self._windows) > MOST_ADDRESSES:
            self._windows.popitem(last=False)
        return window

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
