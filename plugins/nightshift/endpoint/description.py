"""What `/openapi.json` says of the endpoint: bodies, errors and how a sender proves who it is."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from nightshift.endpoint.payloads import JsonBody, WebhookBody
from nightshift.endpoint.senders import SIGNATURE, TIMESTAMP

BODIES = {"alertmanager": WebhookBody, "json": JsonBody}
PROOFS: list[dict[str, list[str]]] = [{"token": []}, {"signature": [], "timestamp": []}]
SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "The token of alerts.token_file."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": SIGNATURE,
        "description": "`sha256=` and the hex HMAC-SHA256 of timestamp, dot and body (alerts.hmac_key_file).",
    },
    "timestamp": {"type": "apiKey", "in": "header", "name": TIMESTAMP, "description": "Unix seconds, now."},
}
ERROR = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
WHEN = {
    400: "The body is not JSON.",
    401: "The sender has proved nothing, or its signature is too old.",
    408: "The body arrived too slowly.",
    413: "The body is too large.",
    415: "The content type is not application/json, or the body is compressed.",
    422: "No alert could be read; the detail names the place.",
    503: "The delivery cannot be written now, or no secret is set up. Send it again.",
}


def _error(status: int, when: str) -> dict[str, Any]:
    headers = {401: "WWW-Authenticate", 503: "Retry-After"}
    said = {headers[status]: {"schema": {"type": "string"}}} if status in headers else {}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": when, "content": content, "headers": said}


ERRORS: dict[int | str, dict[str, Any]] = {status: _error(status, when) for status, when in WHEN.items()}


def operation(source: str) -> dict[str, Any]:
    """What a source's address has beside its answers."""
    schema = {"$ref": f"#/components/schemas/{BODIES[source].__name__}"}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    trace = {"name": "traceparent", "in": "header", "required": False, "schema": {"type": "string"}}
    return {"requestBody": body, "security": PROOFS, "parameters": [trace]}


def describe(app: FastAPI) -> FastAPI:
    """Add the schemas that the operations name."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            template = "#/components/schemas/{model}"
            models = [(model, "validation") for model in BODIES.values()]
            _, found = models_json_schema(models, ref_template=template)  # type: ignore[arg-type]
            parts = generate().setdefault("components", {})
            parts.setdefault("schemas", {}).update({**found["$defs"], "Error": ERROR})
            parts["securitySchemes"] = SCHEMES
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
    return app
