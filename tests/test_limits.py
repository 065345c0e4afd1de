"""How much one address may ask, and whose address counts."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr
import pytest
from starlette.requests import Request

from assistant.settings import Settings
from assistant.web.limits import Asking, Limits


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    return clock


def asking(peer: str | None, *forwarded: str) -> Request:
    """A request from ``peer``, with one header line each of those."""
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return Request({"type": "http", "headers": headers, "client": (peer, 1) if peer else None})


def made(**settings: int) -> Limits:
    return Limits(replace(Settings(), **settings))  # type: ignore[arg-type]


def asked(some: Limits, request: Asking) -> int:
    """Ask one question; after how many seconds one may, if not now."""
    seconds = some.wait(request)
    if not seconds:
        some.count(request)
    return seconds


def test_so_many_a_minute_for_each_address(clock: Clock) -> None:
    some = made(questions_a_minute=2)
    assert [asked(some, asking("1.1.1.1")) for _ in range(3)] == [0, 0, 60]
    assert asked(some, asking("2.2.2.2")) == 0
    clock.now += 45.0
    assert asked(some, asking("1.1.1.1")) == 15
    clock.now += 15.0
    assert asked(some, asking("1.1.1.1")) == 0


def test_so_many_a_day_and_in_all(clock: Clock) -> None:
    some = made(questions_a_minute=5, questions_a_day=2, questions_a_day_in_all=3)
    assert [asked(some, asking("1.1.1.1")) > 0 for _ in range(3)] == [False, False, True]
    assert [asked(some, asking("2.2.2.2")) > 0 for _ in range(2)] == [False, True]
    clock.now += 86_400.0
    assert asked(some, asking("2.2.2.2")) == 0


def test_without_limits_nothing_is_counted() -> None:
    some = made()
    assert not any(asked(some, asking("1.1.1.1")) for _ in range(1_000))


def test_a_forged_header_counts_only_behind_a_named_proxy() -> None:
    some = made(questions_a_minute=1)
    assert asked(some, asking("1.1.1.1", "9.9.9.1")) == 0
    assert asked(some, asking("1.1.1.1", "9.9.9.2")) > 0, "nobody may choose an address"
    behind = made(questions_a_minute=1, proxies=1)
    assert asked(behind, asking("10.0.0.1", "9.9.9.1")) == 0
    assert asked(behind, asking("10.0.0.1", "forged, 7.7.7.7, 9.9.9.1")) > 0, "what the proxy saw stands last"
    assert asked(behind, asking("10.0.0.1", "9.9.9.2")) == 0
    assert asked(behind, asking("10.0.0.1", "8.8.8.8", "9.9.9.1")) > 0, "nor does a line before the proxy's own count"
    assert asked(behind, gr.Request(asking("10.0.0.1", "7.7.7.7", "9.9.9.1"))) > 0
    two = made(questions_a_minute=1, proxies=2)
    assert asked(two, asking("10.0.0.1", "9.9.9.1, 10.0.0.2")) == 0
    assert asked(two, asking("10.0.0.1", "forged, 9.9.9.1, 10.0.0.3")) > 0
    assert asked(two, asking("10.0.0.1", "9.9.9.1")) == 0, "fewer hops than there are proxies: the connection counts"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2001:db8::1", "2001:db8::ffff"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::2"),
        ("nonsense", "nonsense"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("[2001:db8::1]:443", "2001:db8::2"),
        (None, None),
    ],
)
def test_addresses_of_one_person_are_one(first: str | None, second: str | None) -> None:
    some = made(questions_a_minute=1)
    assert asked(some, asking(first)) == 0
    assert asked(some, asking(second)) > 0
    assert asked(some, asking("2001:db8:0:1::1")) == 0


def test_a_space_has_limits_of_its_own() -> None:
    settings = Settings.from_environment({"SYSTEM": "spaces"})
    assert (settings.proxies, settings.questions_a_minute) == (1, 10)
    assert Settings.from_environment({"SYSTEM": "spaces", "ASSISTANT_QUESTIONS_A_MINUTE": "0"}).questions_a_minute == 0
