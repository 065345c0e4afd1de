"""The chat page in Chromium, with the real default model, embedder and documents: what only a browser shows."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import MINUTES

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, site: tuple[str, Path, str]) -> Iterator[Page]:
    """A fresh page; at the end, no request has left the host and nothing has failed in it."""
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    hosts: set[str] = set()
    faults: list[str] = []
    page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "//" in request.url else "inline"))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(site[0])
    expect(page.locator("#question textarea")).to_be_visible(timeout=MINUTES)
    yield page
    page.close()
    assert hosts <= {site[0].split("/")[2], "inline"}
    assert faults == []


def _ask(page: Page, question: str) -> None:
    page.locator("#question textarea").fill(question)
    page.keyboard.press("Enter")


def _finished(page: Page) -> None:
    expect(page.locator("#question .submit-button")).to_be_visible(timeout=3 * MINUTES)


def test_the_health_route_says_what_is_being_done(site: tuple[str, Path, str]) -> None:
    assert "Indexing" in site[2]
    assert httpx.get(f"{site[0]}/healthz").json()["status"] == "ready"


def test_a_question_is_answered_with_sources_that_open(page: Page) -> None:
    _ask(page, "What are the key characteristics of foundation models?")
    expect(page.locator("#question .stop-button")).to_be_visible(timeout=MINUTES)
    citation = page.locator("#chat a", has_text="[1]").first
    expect(citation).to_be_visible(timeout=3 * MINUTES)
    _finished(page)
    expect(page.locator("#chat")).to_contain_text("scale")
    marked = page.locator("#sources mark").first
    expect(marked).to_be_visible()
    quote = marked.inner_text()
    with page.expect_popup() as popup:
        page.locator("#sources a", has_text="Open the document here").first.click()
    document = popup.value
    expect(document.locator("mark#place")).to_have_text(quote)
    expect(document.locator("mark#place")).to_be_in_viewport()
    document.close()


def test_the_sources_stay_beside_what_is_read(page: Page) -> None:
    page.evaluate("document.querySelector('#chat').style.minHeight = '3000px'")  # a long conversation
    page.evaluate("window.scrollTo(0, 2000)")
    expect(page.locator("#head h1")).not_to_be_in_viewport()
    expect(page.locator("#sources-head h2")).to_be_in_viewport()


def test_an_unrelated_question_is_refused_with_the_contact(page: Page) -> None:
    _ask(page, "How long should I boil an egg?")
    _finished(page)
    expect(page.locator("#chat")).to_contain_text("I do not know", timeout=MINUTES)
    expect(page.locator("#chat")).to_contain_text("library@example.org")
    expect(page.locator("#chat a", has_text="[1]")).to_have_count(0)


def test_an_answer_can_be_stopped_and_the_next_one_starts(page: Page) -> None:
    _ask(page, "Explain how transformers work, in detail.")
    expect(page.locator("#chat")).to_contain_text("Reading", timeout=MINUTES)
    page.locator("#question .stop-button").click()
    _finished(page)
    started = time.monotonic()
    _ask(page, "Who won the football world cup in 1998?")
    expect(page.locator("#chat")).to_contain_text("I do not know", timeout=MINUTES)
    # had the model gone on reading, the line would have kept this answer waiting for much longer
    assert time.monotonic() - started < 30


def test_a_like_is_kept_and_the_conversation_is_downloaded(page: Page, site: tuple[str, Path, str]) -> None:
    _ask(page, "How long should I boil an egg?")
    _finished(page)
    expect(page.locator("#chat")).to_contain_text("I do not know", timeout=MINUTES)
    page.get_by_role("button", name="Like", exact=True).first.click()
    assert _kept(site[1] / "feedback.sqlite") == ("like", None)
    with page.expect_download() as download:
        page.locator("#download").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert download.value.suggested_filename == "conversation.md"
    assert "## How long should I boil an egg?" in text
    assert "I do not know" in text


def test_what_to_ask_next_is_asked_with_a_click(page: Page) -> None:
    _ask(page, "What is transfer learning?")
    _finished(page)
    suggestion = page.locator("#sources .next a").first
    expect(suggestion).to_be_visible(timeout=MINUTES)
    question = suggestion.inner_text()
    suggestion.click()
    expect(page.locator("#chat .user.message").last).to_contain_text(question, timeout=MINUTES)
    _finished(page)


def test_a_question_in_the_address_is_asked(page: Page, site: tuple[str, Path, str]) -> None:
    page.goto(f"{site[0]}/?ask=How%20long%20should%20I%20boil%20an%20egg%3F&other=1")
    expect(page.locator("#chat")).to_contain_text("I do not know", timeout=MINUTES)
    assert page.url == f"{site[0]}/?other=1"


def test_a_conversation_survives_a_reload_until_it_is_started_over(
    browser: Browser, site: tuple[str, Path, str]
) -> None:
    # a page of its own: Gradio complains in the console when it is left
    page = browser.new_page()
    page.goto(site[0])
    expect(page.locator("#question textarea")).to_be_visible(timeout=MINUTES)
    _ask(page, "How long should I boil an egg?")
    _finished(page)
    expect(page.locator("#chat")).to_contain_text("I do not know", timeout=MINUTES)
    expect(page.locator("#kept textarea")).to_have_value(re.compile("I do not know"))
    page.reload()
    expect(page.locator("#chat")).to_contain_text("I do not know", timeout=MINUTES)
    _ask(page, "What is the capital of France?")
    _finished(page)
    expect(page.locator("#chat .bot.message")).to_have_count(2, timeout=MINUTES)
    expect(page.locator("#chat")).to_contain_text("boil an egg")
    page.locator("#start-over").click()
    expect(page.get_by_text("What makes an AI model a foundation model?")).to_be_visible(timeout=MINUTES)
    expect(page.locator("#chat")).not_to_contain_text("boil an egg")
    page.reload()
    expect(page.get_by_text("What makes an AI model a foundation model?")).to_be_visible(timeout=MINUTES)
    page.close()


def _kept(file: Path) -> tuple[str, str | None] | None:
    """The first verdict and its question, as soon as they are kept."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if file.exists():
            with closing(sqlite3.connect(file)) as database:
                if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'feedback'").fetchone():
                    row = database.execute("SELECT verdict, question FROM feedback").fetchone()
                    if row:
                        return (row[0], row[1])
        time.sleep(0.1)
    return None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_sideways_scrolling(
    browser: Browser, site: tuple[str, Path, str], scheme: str
) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(site[0])
    expect(page.locator("#question textarea")).to_be_visible(timeout=MINUTES)
    expect(page.get_by_text("Sources", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.locator("#question").bounding_box()
    sources = page.locator("#sources-head").bounding_box()
    assert box is not None
    assert sources is not None
    assert sources["y"] > box["y"]
    context.close()
