"""The HTTP contract, tried by Schemathesis: more than a thousand requests, made from the schema and against it.

No answer is the server's fault, and each has a status, a type and a shape that the schema names. Runs with `make soak`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.checks as checks
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant.settings import Settings
from assistant.web.api import Api
from assistant.web.guard import Guard, Sharing
from assistant.web.limits import Limits
from assistant.web.line import Line
from assistant.web.routes import build_routes
from tests.fakes import ScriptedModel
from tests.test_web import prepared

pytestmark = pytest.mark.soak

SOME = limits(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
HOST = {"Host": "localhost"}
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
TEXT = {"type": "string", "minLength": 1}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "object", "required": ["message"], "properties": {"message": TEXT}},
    },
}
CITATION = {
    "type": "object",
    "required": ["number", "document", "title", "quote", "start_line", "end_line", "page"],
    "properties": {"number": {"type": "integer", "minimum": 1}, "quote": TEXT},
}
COMPLETION = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage", "citations"],
    "properties": {
        "object": {"const": "chat.completion"},
        "choices": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["index", "message", "finish_reason"]},
        },
        "citations": {"type": "array", "items": CITATION},
    },
}
QUESTION = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": "string"},
        "stream": {"type": "boolean"},
        "temperature": {"type": "number"},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {
                    "role": {"enum": ["system", "user", "assistant"]},
                    "content": {"type": "string", "maxLength": 2500},
                },
            },
        },
    },
}


def _said(description: str, kind: str = "application/json", schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema or {}}}}


def _asks(body: dict[str, Any]) -> dict[str, Any]:
    refused = {status: _said("refused", schema=ERROR) for status in ("400", "413")}
    answered = {
        "description": "answered",
        "content": {"application/json": {"schema": COMPLETION}, "text/event-stream": {}},
    }
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": answered, **refused},
    }


def _page(*parameters: dict[str, Any]) -> dict[str, Any]:
    # a line break in a path matches no route, and is told in plain text
    missing = {"description": "not found", "content": {"text/html": {}, "text/plain": {}}}
    responses = {"200": _said("found", "text/html"), "404": missing}
    return {"parameters": list(parameters), "responses": responses}


PATH = {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}}
PLACE = {"name": "at", "in": "query", "schema": {"type": "string"}}
HEALTH = {"type": "object", "required": ["status", "documents", "chunks", "model", "embedder"]}
SCHEMA = {
    "openapi": "3.1.0",
    "info": {"title": "Groundwork", "version": "1"},
    "paths": {
        "/v1/chat/completions": {"post": _asks(QUESTION)},
        "/v1/models": {"get": {"responses": {"200": _said("models", schema={"required": ["object", "data"]})}}},
        "/healthz": {"get": {"responses": {"200": _said("ready", schema=HEALTH)}}},
        "/documents/{path}": {"get": _page(PATH, PLACE)},
        "/topics": {"get": _page()},
        "/metrics": {"get": {"responses": {"200": _said("numbers", "text/plain")}}},
        "/embed": {"get": _page({"name": "ask", "in": "query", "schema": {"type": "string"}})},
    },
}


@pytest.fixture
def contract(settings: Settings) -> Any:
    settings = replace(settings, metrics=True)
    line = Line()
    preparation = prepared(settings, ScriptedModel("Bread bakes for forty minutes at 230 degrees."))

    def schema(_: Request) -> Response:
        return JSONResponse(SCHEMA)

    app = Starlette(
        routes=[
            Route("/openapi.json", schema),
            *build_routes(settings, preparation, line),
            *Api(settings, preparation, line, Limits(settings)).routes(),
        ],
        middleware=[Middleware(Sharing, settings=settings), Middleware(Guard, settings=settings)],
    )
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers=HOST)


def test_every_request_gets_what_the_schema_says(contract: Any, count_of_inputs: list[None]) -> None:
    operations = [found.ok() for found in contract.get_all_operations()]
    assert len(operations) == len(SCHEMA["paths"])

    def check(case: Any) -> None:
        count_of_inputs.append(None)
        case.call_and_validate(headers=HOST, checks=CHECKS)

    for operation in operations:
        takes = operation.body or operation.path_parameters or operation.query
        modes = [schemathesis.GenerationMode.POSITIVE, *([schemathesis.GenerationMode.NEGATIVE] if takes else [])]
        for mode in modes:
            SOME(given(operation.as_strategy(generation_mode=mode))(check))()  # type: ignore[no-untyped-call]
    assert len(count_of_inputs) > 1_000
