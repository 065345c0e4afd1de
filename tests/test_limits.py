"""How much one address may ask, and whose address counts."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr
import pytest
from starlette.requests import Request

from assistant.settings import Settings
from assistant.web import limits
from assistant.web.limits import Limits


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asking(peer: str | None, *forwarded: str) -> Request:
    """A request from ``peer``, with one header line each of those."""
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return Request({"type": "http", "headers": headers, "client": (peer, 1) if peer else None})


def made(clock: Clock | None = None, **settings: int) -> Limits:
    return Limits(replace(Settings(), **settings), clock or Clock())  # type: ignore[arg-type]


def test_so_many_a_minute_for_each_address() -> None:
    clock = Clock()
    some = made(clock, questions_a_minute=2)
    assert [some.wait(asking("1.1.1.1")) for _ in range(3)] == [0, 0, 60]
    assert some.wait(asking("2.2.2.2")) == 0
    clock.now = 45.0
    assert some.wait(asking("1.1.1.1")) == 15
    clock.now = 60.0
    assert some.wait(asking("1.1.1.1")) == 0


def test_so_many_a_day_and_in_all() -> None:
    clock = Clock()
    some = made(clock, questions_a_minute=5, questions_a_day=2, questions_a_day_in_all=3)
    assert [some.wait(asking("1.1.1.1")) > 0 for _ in range(3)] == [False, False, True]
    assert [some.wait(asking("2.2.2.2")) > 0 for _ in range(2)] == [False, True]
    clock.now = 86_400.0
    assert some.wait(asking("2.2.2.2")) == 0


def test_a_question_that_was_not_let_in_is_given_back() -> None:
    some = made(questions_a_minute=1, questions_a_day_in_all=1)
    assert [some.wait(asking("1.1.1.1")) > 0 for _ in range(2)] == [False, True]
    some.give_back(asking("1.1.1.1"))
    assert [some.wait(asking("1.1.1.1")) > 0 for _ in range(2)] == [False, True]


def test_without_limits_nothing_is_counted() -> None:
    some = made()
    assert not any(some.wait(asking("1.1.1.1")) for _ in range(1_000))
    assert not some._windows


def test_a_forged_header_counts_only_behind_a_named_proxy() -> None:
    some = made(questions_a_minute=1)
    assert some.wait(asking("1.1.1.1", "9.9.9.1")) == 0
    assert some.wait(asking("1.1.1.1", "9.9.9.2")) > 0, "nobody may choose an address"
    behind = made(questions_a_minute=1, proxies=1)
    assert behind.wait(asking("10.0.0.1", "9.9.9.1")) == 0
    assert behind.wait(asking("10.0.0.1", "forged, 7.7.7.7, 9.9.9.1")) > 0, "what the proxy saw stands last"
    assert behind.wait(asking("10.0.0.1", "9.9.9.2")) == 0
    assert behind.wait(asking("10.0.0.1", "8.8.8.8", "9.9.9.1")) > 0, "nor does a line before the proxy's own count"
    assert behind.wait(gr.Request(asking("10.0.0.1", "7.7.7.7", "9.9.9.1"))) > 0
    two = made(questions_a_minute=1, proxies=2)
    assert two.wait(asking("10.0.0.1", "9.9.9.1, 10.0.0.2")) == 0
    assert two.wait(asking("10.0.0.1", "forged, 9.9.9.1, 10.0.0.3")) > 0
    assert two.wait(asking("10.0.0.1", "9.9.9.1")) == 0, "fewer hops than there are proxies: the connection counts"


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
    assert some.wait(asking(first)) == 0
    assert some.wait(asking(second)) > 0
    assert some.wait(asking("2001:db8:0:1::1")) == 0


def test_few_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_ADDRESSES", 10)
    some = made(questions_a_minute=1)
    for number in range(100):
        some.wait(asking(f"1.1.1.{number}"))
    assert len(some._windows) == 10


def test_a_space_has_limits_of_its_own() -> None:
    settings = Settings.from_environment({"SYSTEM": "spaces"})
    assert (settings.proxies, settings.questions_a_minute) == (1, 10)
    assert Settings.from_environment({"SYSTEM": "spaces", "ASSISTANT_QUESTIONS_A_MINUTE": "0"}).questions_a_minute == 0
