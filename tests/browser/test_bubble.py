"""The bubble on somebody else's site: hostile styles, a strict policy, another host, and no storage in the frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from assistant.doctor import examine
from assistant.settings import Settings
from tests.browser.conftest import DEMO, MINUTES, Neighbour

pytestmark = pytest.mark.browser

NO_STORAGE = """for (const name of ["localStorage", "sessionStorage", "indexedDB", "caches"])
    Object.defineProperty(window, name, { get() { throw new DOMException("blocked", "SecurityError"); } });
Object.defineProperty(document, "cookie", { get() { throw new DOMException("blocked", "SecurityError"); } });"""
STYLES = """() => [...document.querySelectorAll("h1, p")].map((one) => JSON.stringify(
    ["display", "color", "fontSize", "position"].map((name) => getComputedStyle(one)[name])))"""


@pytest.fixture
def page(browser: Browser, site: tuple[str, Path, str], neighbour: Neighbour) -> Iterator[Page]:
    demo = (DEMO / "index.html").read_text(encoding="utf-8").replace("http://localhost:7860", site[0])
    neighbour.page = demo.replace('<groundwork-chat data-theme="dark"></groundwork-chat>', "")
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    context.add_init_script(NO_STORAGE)
    page = context.new_page()
    yield page
    context.close()


@pytest.fixture
def requests(page: Page) -> list[str]:
    """What the page has asked for."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url))
    return found


def _inside(page: Page) -> FrameLocator:
    return page.frame_locator("iframe[title='Ask us']")


def _open(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Ask us").click()


def test_nothing_is_asked_for_before_the_bubble_is_opened(
    page: Page, neighbour: Neighbour, requests: list[str], site: tuple[str, Path, str]
) -> None:
    page.goto(neighbour.listed)
    button = page.get_by_role("button", name="Ask us")
    expect(button).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "false")
    assert [url for url in requests if url.startswith(site[0])] == [f"{site[0]}/widget.js"]
    box = button.bounding_box()
    assert box
    assert (box["width"], box["height"]) == (56, 56), "hostile styles do not reach it"
    assert box["x"] > 900
    assert box["y"] > 700


def test_a_question_is_answered_in_the_bubble_and_escape_closes_it(
    page: Page, neighbour: Neighbour, site: tuple[str, Path, str]
) -> None:
    page.goto(neighbour.listed)
    before = page.evaluate(STYLES)
    page.get_by_role("button", name="Ask us").click()
    inside = _inside(page)
    field = inside.get_by_label("Question")
    expect(field).to_be_focused(timeout=MINUTES)
    frame = next(frame for frame in page.frames if frame.url.startswith(f"{site[0]}/embed"))
    assert frame.evaluate("() => { try { localStorage; return false } catch { return true } }"), "storage is blocked"
    expect(inside.get_by_role("heading", name="Ask us")).to_be_visible()
    field.fill("What are the key characteristics of foundation models?")
    field.press("Enter")
    mark = inside.locator("a.mark", has_text="[1]").first
    expect(mark).to_be_visible(timeout=3 * MINUTES)
    inside.locator("summary").click()
    expect(inside.locator("blockquote").first).to_be_visible()
    with page.expect_popup() as popup:
        inside.get_by_text("Open the document here").first.click()
    expect(popup.value.locator("mark#place")).to_be_visible()
    popup.value.close()
    field.press("Escape")
    button = page.get_by_role("button", name="Ask us")
    expect(page.locator("iframe")).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")
    assert page.evaluate(STYLES) == before, "the page's own styles are as they were"


def test_the_script_of_the_page_opens_asks_and_listens_and_forged_messages_do_nothing(
    page: Page, neighbour: Neighbour
) -> None:
    page.goto(neighbour.listed)
    page.evaluate("""() => {
        window.seen = [];
        for (const name of ["open", "close", "ready", "answer"])
            Groundwork.on(name, (detail) => seen.push([name, detail]));
        Groundwork.ask("How long should I boil an egg?");
    }""")
    expect(_inside(page).get_by_text("I do not know")).to_be_visible(timeout=MINUTES)
    page.wait_for_function(
        "() => seen.some(([name, detail]) => name === 'answer' && detail.answer.includes('do not know'))"
    )
    page.evaluate("() => window.postMessage({ groundwork: 1, type: 'close' }, '*')")
    frame = next(frame for frame in page.frames if "/embed" in frame.url)
    frame.evaluate("() => window.postMessage({ groundwork: 1, type: 'ask', question: 'Forged?' }, '*')")
    page.wait_for_timeout(300)
    expect(page.locator("iframe")).to_be_visible()
    expect(_inside(page).get_by_text("Forged?")).to_have_count(0)
    page.evaluate("() => Groundwork.close()")
    expect(page.locator("iframe")).to_be_hidden()
    assert [name for name, _ in page.evaluate("() => seen")] == ["open", "ready", "answer", "close"]


def test_the_element_shows_the_chat_in_the_page(page: Page, neighbour: Neighbour, site: tuple[str, Path, str]) -> None:
    demo = (DEMO / "index.html").read_text(encoding="utf-8").replace("http://localhost:7860", site[0])
    neighbour.page = demo.replace("data-title", "data-bubble='none' data-title")
    page.goto(neighbour.listed)
    expect(_inside(page).get_by_label("Question")).to_be_visible(timeout=MINUTES)
    expect(page.get_by_role("button", name="Ask us")).to_have_count(0)
    frame = next(frame for frame in page.frames if "/embed" in frame.url)
    assert "theme=dark" in frame.url


def test_the_line_of_doctor_runs_only_the_script_it_names(
    page: Page, neighbour: Neighbour, site: tuple[str, Path, str]
) -> None:
    line = next(finding.detail for finding in examine(Settings()) if finding.name == "widget")
    for script, count in ((line, 1), (line.replace("sha384-", "sha384-AAAA"), 0)):
        neighbour.page = f"<!doctype html><title>A</title><body>{script.replace('https://YOUR-HOST', site[0])}</body>"
        page.goto(neighbour.listed)
        page.wait_for_timeout(500)
        expect(page.get_by_role("button", name="Ask the documents")).to_have_count(count)


def test_an_unlisted_site_is_refused_by_the_browser(page: Page, neighbour: Neighbour) -> None:
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    _open(page, neighbour.unlisted)
    page.wait_for_timeout(1000)
    expect(_inside(page).get_by_label("Question")).to_have_count(0)
    assert any("frame-ancestors" in fault for fault in faults)


@pytest.mark.parametrize("width", [320, 400])
def test_a_phone_shows_it_on_the_whole_screen(page: Page, neighbour: Neighbour, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    _open(page, neighbour.listed)
    expect(_inside(page).get_by_label("Question")).to_be_visible(timeout=MINUTES)
    box = page.locator("iframe").bounding_box()
    assert box == {"x": 0, "y": 0, "width": width, "height": 700}
    frame = next(frame for frame in page.frames if "/embed" in frame.url)
    assert frame.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    _inside(page).get_by_role("button", name="Close").click()
    expect(page.locator("iframe")).to_be_hidden()


def test_the_running_app_lets_listed_sites_read_and_no_other(neighbour: Neighbour, site: tuple[str, Path, str]) -> None:
    for origin, status in ((neighbour.listed, 200), (neighbour.unlisted, 403)):
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        before = httpx.options(f"{site[0]}/v1/models", headers=headers)
        answer = httpx.get(f"{site[0]}/v1/models", headers=headers)
        assert answer.status_code == status
        for response in (before, answer):
            assert response.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
            assert "access-control-allow-credentials" not in response.headers
    assert httpx.get(f"{site[0]}/v1/models").json()["data"][0]["id"] == "qwen2.5-coder-1.5b"
