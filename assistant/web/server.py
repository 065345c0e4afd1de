"""Listens, prepares in the background, and stops with one clear line when it cannot go on."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from contextlib import closing
from importlib.resources import files
from typing import Any

from starlette.middleware import Middleware

from assistant.errors import KnowledgeError, ServerError
from assistant.ingestion.loaders import read_folder
from assistant.progress import ProgressBar
from assistant.schemas import Document
from assistant.settings import Settings
from assistant.startup import Preparation
from assistant.web.api import Api
from assistant.web.guard import MAX_BODY, Guard, Sharing
from assistant.web.limits import Limits
from assistant.web.line import Line
from assistant.web.mcp import Tools
from assistant.web.monitor import LOG, Monitor
from assistant.web.routes import build_routes, read_asset

LOOK_SECONDS = 0.2
QUIET_SECONDS = 1.0
FINISH_SECONDS = 20.0
"""How long running answers may take after a request to stop; most supervisors kill after thirty seconds."""


def serve(settings: Settings) -> None:
    """Serve until interrupted, or asked to stop (SIGTERM), when answers that are running are finished first.

    Raises:
        AssistantError: the port is taken, the knowledge folder holds nothing, or preparing failed.
    """
    _check_knowledge(settings)
    _check_port(settings)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # whom a forwarded address is believed is decided in `limits`, and not by the server below Gradio
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    line = Line(Monitor(settings.keep_questions))
    # no lock may be taken in a handler, or be waited for by what it interrupts
    signal.signal(signal.SIGTERM, lambda *_: line.close())
    if settings.log:
        LOG.addHandler(logging.StreamHandler())
        LOG.setLevel(logging.INFO)
        LOG.propagate = False
    with ProgressBar() as bar, closing(Preparation(settings, bar.show)) as preparation:
        preparation.start()
        demo = _launch(settings, preparation, line)
        try:
            while not (preparation.done.wait(LOOK_SECONDS) or line.is_closed):
                pass
            if preparation.error:
                raise preparation.error
            if not line.is_closed:
                address = "localhost" if settings.host in {"127.0.0.1", "0.0.0.0"} else settings.host
                print(f"Ready: http://{address}:{settings.port}", file=sys.stderr, flush=True)
            while not line.is_closed:
                time.sleep(LOOK_SECONDS)
            _finish(line)
        finally:
            demo.close(verbose=False)


def _finish(line: Line) -> None:
    """Answer those who have asked, for as long as a supervisor can be expected to wait."""
    deadline = time.monotonic() + FINISH_SECONDS
    quiet_since = time.monotonic()
    # the page is told the end of an answer a moment after the line is empty
    while time.monotonic() < min(deadline, quiet_since + QUIET_SECONDS):
        time.sleep(LOOK_SECONDS)
        if not line.is_empty:
            quiet_since = time.monotonic()
    line.stop()


def _launch(settings: Settings, preparation: Preparation, line: Line) -> Any:
    import gradio as gr

    from assistant.web.chat import ChatPage

    limits = Limits(settings)
    api = Api(settings, preparation, line, limits)
    demo = ChatPage(settings, preparation, line, limits).build()
    app, _, _ = demo.launch(
        server_name=settings.host,
        server_port=settings.port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        show_error=False,
        ssr_mode=False,
        run_history=False,
        mcp_server=False,
        footer_links=[],
        enable_monitoring=False,
        max_file_size=MAX_BODY,
        theme=_theme(gr),
        css=read_asset("chat.css"),
        head=f"<script>{read_asset('chat.js')}</script>",
        favicon_path=str(files("assistant.web").joinpath("favicon.svg")),
        app_kwargs={
            "routes": [
                *build_routes(settings, preparation, line),
                *api.routes(),
                Tools(settings, api, line).route(),
            ],
            "middleware": [Middleware(Guard, settings=settings)],
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    )
    # Gradio puts its own middleware around those above, and one of it lets every site read
    app.middleware_stack = Sharing(app.middleware_stack or app.build_middleware_stack(), settings)
    return demo


def _theme(gr: Any) -> Any:
    fonts = ["ui-sans-serif", "system-ui", "sans-serif"]
    return gr.themes.Default(
        primary_hue="blue", neutral_hue="stone", font=fonts, font_mono=["ui-monospace", "monospace"], radius_size="md"
    )


def _check_knowledge(settings: Settings) -> None:
    if not any(isinstance(item, Document) for item in read_folder(settings.knowledge)):
        raise KnowledgeError(
            f"The knowledge folder {settings.knowledge} holds no document that can be read: put Markdown (.md) or "
            "text (.txt) files in UTF-8 into it, then run `python -m assistant index` to see what is skipped and why."
        )


def _check_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ServerError(
                f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}): stop the program that uses it, "
                "or choose another with ASSISTANT_PORT (or ASSISTANT_HOST)."
            ) from error
