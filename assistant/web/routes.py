"""The routes beside the chat page.

`/healthz` says whether questions can be answered; `/documents/…` opens a document at a place, from the index and
never from the disk, so no path can lead anywhere else. This module knows nothing of Gradio.
"""

from __future__ import annotations

import html
import re
from importlib.resources import files

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from assistant.errors import KnowledgeIndexError
from assistant.progress import describe
from assistant.schemas import Document
from assistant.settings import Settings
from assistant.startup import Preparation
from assistant.web.line import Line
from assistant.web.monitor import Monitor
from assistant.web.rendering import document_html, topics_html


def build_routes(settings: Settings, preparation: Preparation, line: Line) -> list[Route]:
    """The routes of this app."""

    def healthz(_: Request) -> Response:
        return _health(settings, preparation, line)

    def document(request: Request) -> Response:
        path = request.path_params["path"]
        # addresses are relative, because the whole site may lie below a proxy's path
        root = "../" * (1 + path.count("/"))
        found = _find(preparation, path)
        if found is None:
            return _page(settings.title, root, "Not found", "<h1>Not found</h1><p>There is no such document.</p>", 404)
        start, end = _span(request.query_params.get("at", ""))
        return _page(settings.title, root, found.title, document_html(found, start, end))

    def topics(_: Request) -> Response:
        if preparation.assistant is None:
            return _page(settings.title, "./", "Topics", "<h1>Topics</h1><p>The documents are being read.</p>", 503)
        try:
            with preparation.assistant.retriever.index.snapshot() as snapshot:
                return _page(settings.title, "./", "Topics", topics_html(snapshot.topics()))
        except KnowledgeIndexError as error:
            return _page(settings.title, "./", "Topics", f"<h1>Topics</h1><p>{html.escape(str(error))}</p>", 503)

    def style(_: Request) -> Response:
        return Response(read_asset("document.css"), media_type="text/css")

    return [
        *([_metrics(line.monitor)] if settings.metrics else []),
        Route("/healthz", healthz),
        Route("/documents/{path:path}", document),
        Route("/topics", topics),
        Route("/document.css", style),
    ]


def _health(settings: Settings, preparation: Preparation, line: Line) -> Response:
    assistant = preparation.assistant
    if assistant is None:
        step = str(preparation.error or describe(preparation.progress))
        return JSONResponse({"status": "starting", "step": step}, status_code=503)
    if line.is_closed:
        return JSONResponse({"status": "stopping"}, status_code=503)
    reading = preparation.reading
    try:
        with assistant.retriever.index.snapshot() as snapshot:
            documents, chunks = snapshot.counts()
    except KnowledgeIndexError as error:
        return JSONResponse({"status": "broken", "step": str(error)}, status_code=503)
    return JSONResponse(
        {
            "status": "ready",
            "documents": documents,
            "chunks": chunks,
            "model": assistant.model.name,
            "embedder": settings.embedder,
            "passages_read": reading.read if reading else 0,
        }
    )


def _metrics(monitor: Monitor) -> Route:
    def metrics(_: Request) -> Response:
        return Response(monitor.numbers(), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", metrics)


def read_asset(name: str) -> str:
    """A file that stands beside this module."""
    return files("assistant.web").joinpath(name).read_text(encoding="utf-8")


def _find(preparation: Preparation, path: str) -> Document | None:
    if preparation.assistant is None:
        return None
    try:
        with preparation.assistant.retriever.index.snapshot() as snapshot:
            return snapshot.document(path)
    except KnowledgeIndexError:
        return None


def _span(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})-(\d{1,9})", text)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def _page(site: str, root: str, title: str, body: str, status: int = 200) -> HTMLResponse:
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)} · {html.escape(site)}</title>"
        f"<link rel='stylesheet' href='{root}document.css'></head>"
        f"<body><nav><a href='{root}'>{html.escape(site)}</a></nav>"
        f"<main>{body}</main></body></html>"
    )
    policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"
    return HTMLResponse(page, status_code=status, headers={"Content-Security-Policy": policy})
