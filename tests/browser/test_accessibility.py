"""axe finds nothing to complain about: the chat page, the compact page, and the bubble closed and open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import MINUTES, Neighbour

pytestmark = pytest.mark.browser


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 800}, color_scheme=request.param)
    yield context.new_page()
    context.close()


def _complaints(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


def test_the_chat_page_with_an_answer(page: Page, site: tuple[str, Path, str]) -> None:
    page.goto(site[0])
    expect(page.locator("#question textarea")).to_be_visible(timeout=MINUTES)
    # the last of Gradio's own parts may still be on their way
    expect(page.locator("p.loading")).to_have_count(0)
    assert _complaints(page) == []
    page.locator("#question textarea").fill("What is transfer learning?")
    page.keyboard.press("Enter")
    expect(page.locator("#chat a", has_text="[1]").first).to_be_visible(timeout=3 * MINUTES)
    expect(page.locator("#question .submit-button")).to_be_visible(timeout=3 * MINUTES)
    assert _complaints(page) == []


def test_the_compact_page_with_an_answer(page: Page, site: tuple[str, Path, str]) -> None:
    page.goto(f"{site[0]}/embed")
    assert _complaints(page) == []
    page.get_by_role("textbox").fill("What is transfer learning?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible(timeout=3 * MINUTES)
    page.locator("summary").click()
    assert _complaints(page) == []


def test_the_bubble_closed_and_open(page: Page, site: tuple[str, Path, str], neighbour: Neighbour) -> None:
    neighbour.page = (
        "<!doctype html><html lang='en'><head><title>Neighbour</title>"
        f"<script src='{site[0]}/widget.js' data-title='Ask us' defer></script>"
        "</head><body><main><h1>A site</h1></main></body></html>"
    )
    page.goto(neighbour.listed)
    button = page.get_by_role("button", name="Ask us")
    expect(button).to_be_visible()
    assert _complaints(page) == []
    button.click()
    expect(page.frame_locator("iframe").get_by_role("textbox")).to_be_visible()
    assert _complaints(page) == []
