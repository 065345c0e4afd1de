"""What every request meets first: who may ask, in which name and how much; and the headers on every answer.

`Guard` stands around this app's routes and Gradio's, `Sharing` around all of it. Neither knows what a question is.
"""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.settings import Settings

MAX_BODY = 1_000_000
"""Bytes that a request may send: a long conversation and its sources fit many times."""

CLOSED = ("/gradio_api/upload", "/gradio_api/proxy=")
"""Doors of Gradio that this app has no use for."""

OPEN = frozenset({"/healthz", "/gradio_api/startup-events"})
"""What needs no login: health, and what Gradio asks of itself when it starts, which takes nothing and tells nothing."""

CHALLENGE = 'Basic realm="Groundwork", charset="UTF-8"'

CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""What this machine is called by those who use it."""


class Guard:
    """ASGI middleware: security headers on every response; refused are foreign origins, closed doors, huge bodies, and
    who has no login where the owner wants one.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._sites = settings.sites
        self._login = settings.auth
        self._key = settings.api_key
        self._is_local = settings.host in LOCAL and not settings.proxies
        self._own_host = os.environ.get("SPACE_HOST", "") if settings.on_spaces else ""
        ancestors = f"frame-ancestors {' '.join(settings.frame_ancestors)}"
        self._ancestors = ancestors
        self._frames = None if len(settings.frame_ancestors) > 1 else b"SAMEORIGIN"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; every response gets the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = self._with_headers(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await self._app(scope, _bounded(receive), guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        request = Request(scope)
        path = scope["path"]
        if not self._is_called_by_name(request):
            return _error(403, "Ask for it as localhost, or set ASSISTANT_PROXIES if a proxy of yours stands in front.")
        if path.startswith(CLOSED):
            return _error(404, "There is nothing here.")
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return _error(413, f"Send at most {MAX_BODY:,} bytes.")
        if not self._is_welcome(request):
            return _error(403, "This site may not call this assistant.")
        if self._login and path not in OPEN and not self._is_known(request.headers.get("authorization", "")):
            return _error(401, "Log in with the name and password of this assistant.", {"WWW-Authenticate": CHALLENGE})
        return None

    def _is_known(self, given: str) -> bool:
        """Whether a header names the owner's login, or the key of the programs, which `/v1` looks at once more."""
        scheme, _, secret = given.partition(" ")
        wanted = {"basic": b64encode(self._login.encode()).decode(), "bearer": self._key}.get(scheme.lower(), "")
        return bool(wanted) and hmac.compare_digest(secret.strip().encode(), wanted.encode())

    def _is_called_by_name(self, request: Request) -> bool:
        """On this machine only, a name that somebody else's name server made to lead here is no name of ours."""
        host = request.headers.get("host", "localhost")
        return not self._is_local or urlsplit(f"//{host}").hostname in LOCAL

    def _is_welcome(self, request: Request) -> bool:
        """Whether the page that sent the request is ours or a listed one; programs send no Origin."""
        origin = request.headers.get("origin")
        if origin is None or origin in self._sites:
            return True
        host = urlsplit(origin).netloc
        return bool(host) and host in {request.headers.get("host", ""), self._own_host}

    def _with_headers(self, send: Send) -> Send:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                policy = next((v.decode() for k, v in headers if k.lower() == b"content-security-policy"), "")
                policy = f"{policy or CONTENT_POLICY}; {self._ancestors}"
                headers = [(k, v) for k, v in headers if k.lower() != b"content-security-policy"]
                headers += [
                    (b"content-security-policy", policy.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
                ]
                if self._frames:
                    headers.append((b"x-frame-options", self._frames))
                message = {**message, "headers": headers}
            await send(message)

        return guarded


class Sharing:
    """ASGI middleware, the outermost: which pages of other sites may read an answer. Nobody else has a say in it.

    Pages of listed sites may, never with their visitors' cookies. Gradio's own rule, which stands inside this one,
    lets any site read; what it says is struck out.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._sites = settings.sites

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and say who may read what comes back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        origin = request.headers.get("origin", "")
        allowed = [(b"access-control-allow-origin", origin.encode()), (b"vary", b"Origin")]
        shared = allowed if origin in self._sites else allowed[1:]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [
                    (k, v) for k, v in message.get("headers", ()) if not k.lower().startswith(b"access-control-")
                ]
                message = {**message, "headers": [*headers, *shared]}
            await send(message)

        if request.method == "OPTIONS" and origin in self._sites:
            wanted = request.headers.get("access-control-request-headers", "")
            shared = [
                *shared,
                (b"access-control-allow-methods", b"GET, POST"),
                (b"access-control-allow-headers", wanted.encode()),
            ]
            await Response(status_code=204)(scope, receive, sent)
            return
        await self._app(scope, receive, sent)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message}}, status_code=status, headers=headers)


def _bounded(receive: Receive) -> Receive:
    """A body without a declared length is cut off at the bound."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            return {"type": "http.disconnect"}
        return message

    return bounded
