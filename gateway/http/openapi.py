"""What /openapi.json says beyond the paths: bodies, answers, errors, who may call."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.http.answer_schemas import ChatAnswer, ChatChunk, ErrorBody
from gateway.http.schemas import ChatRequest, FeedbackRequest, PredictRequest

VERSION = "1.1.0"  # of the interface; the first number rises when a client of an older one can break
DESCRIPTION = (
    "Answers users with the adapter in production. OpenAI's clients work with it: docs/gateway.md lists "
    "which of their options are taken."
)
WHEN = {
    400: "The request is not valid, or too long. `param` names what is wrong.",
    401: "The token is missing or does not prove who calls.",
    403: "The token lacks the scope `feedback`.",
    404: "There is no such model or answer, or the token does not cover it.",
    408: "The request came too slowly.",
    413: "The body is too large.",
    415: "The body is compressed.",
    429: "The tenant's minute or day is used up, or the queue is full.",
    431: "The headers are too large.",
    502: "The engine could not answer.",
    503: "Not ready, or too busy.",
    504: "No answer in time.",
}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "seconds"}}
BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
OPT_OUT = {
    "in": "header",
    "name": "X-Opt-Out",
    "schema": {"type": "string"},
    "description": "anything but 0, false, no, off or an empty value: nothing is learned from this call",
}

STREAM = {
    "description": "The answer, or its events if `stream` is true.",
    "model": ChatAnswer,
    "content": {
        "text/event-stream": {
            "schema": {  # of each event, as OpenAPI 3.1 has no word for a whole stream
                "type": "object",
                "required": ["data"],
                "properties": {
                    "data": {"type": "string", "description": "a ChatChunk as JSON; at last [DONE]"},
                },
            },
            "example": 'data: {"object": "chat.completion.chunk", ...}\n\ndata: [DONE]\n\n',
        }
    },
}


def asks(*statuses: int, body: type[BaseModel] | None = None, **example: Any) -> dict[str, Any]:
    """The arguments of a route that needs a token: its body with an example, and its errors."""
    extra: dict[str, Any] = {"security": [{"token": []}]}
    if body:
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        content = {"application/json": {"schema": schema, "example": example}}
        extra |= {"requestBody": {"required": True, "content": content}}
    if body in (ChatRequest, PredictRequest):
        extra["parameters"] = [OPT_OUT]
    return {"openapi_extra": extra, "responses": errors(401, 408, 413, 415, 431, 503, *statuses)}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for FastAPI's `responses`."""
    return {
        status: {"description": WHEN[status], "model": ErrorBody}
        | ({"headers": RETRY_AFTER} if status in (429, 503) else {})
        for status in sorted(statuses)
    }


def describe(app: FastAPI) -> None:
    """Let the app's /openapi.json also hold the bodies, which the routes read themselves."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            found = get_openapi(
                title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes
            )
            components = found["components"]
            components["schemas"] |= _body_schemas()
            components["securitySchemes"] = {"token": BEARER}
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _body_schemas() -> dict[str, Any]:
    bodies = (ChatRequest, PredictRequest, FeedbackRequest, ChatChunk)
    _, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = schemas["$defs"]
    return found
