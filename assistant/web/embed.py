"""The compact page for other people's sites, and the script that puts a bubble with it on a page.

`/widget.js` is the bubble, `/embed` the page inside it. The page asks through the same code as `/v1`, by a door of its
own that needs no key: whoever can see the page may ask. All that an owner or a page's author writes is shown as text.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from assistant.settings import Settings
from assistant.web.routes import read_asset

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'"
)
FRESH = {"Cache-Control": "max-age=300"}


def embed_routes(settings: Settings, ask: Callable[[Request], Awaitable[Response]]) -> list[Route]:
    """The routes; ``ask`` answers a question as `/v1/chat/completions` does."""

    def page(_: Request) -> Response:
        return HTMLResponse(_page(settings), headers={"Content-Security-Policy": POLICY})

    def asset(name: str, kind: str) -> Callable[[Request], Response]:
        return lambda _: Response(read_asset(name), media_type=kind, headers=FRESH)

    return [
        Route("/embed", page),
        Route("/embed/ask", ask, methods=["POST"]),
        Route("/embed.js", asset("embed.js", "text/javascript")),
        Route("/embed.css", asset("embed.css", "text/css")),
        Route("/widget.js", asset("widget.js", "text/javascript")),
    ]


def _page(settings: Settings) -> str:
    title, greeting = html.escape(settings.title), html.escape(settings.greeting)
    starters = "".join(
        f"<button type='button' class='starter'>{html.escape(question)}</button>" for question in settings.questions
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><link rel='stylesheet' href='embed.css'></head>"
        f"<body><header><h1>{title}</h1><button id='close' hidden>Close</button></header>"
        f"<main><div id='start'><p id='greeting'>{greeting}</p><div id='starters'>{starters}</div></div>"
        "<div id='log' role='log' aria-live='polite'></div></main>"
        "<form aria-label='Ask'>"
        "<textarea rows='1' aria-label='Question' placeholder='Ask a question' maxlength='2000'></textarea>"
        "<button>Ask</button></form><script src='embed.js'></script></body></html>"
    )
