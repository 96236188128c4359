"""Turns refusals and bodies that do not validate into HTTP responses, and counts them."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from gateway.errors import Refusal


def add_error_handlers(app: FastAPI) -> None:
    """Handle Refusal and pydantic's ValidationError wherever a route raises them."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(ValidationError, _invalid)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    request.app.state.service.metrics.refusals.labels(error.status, error.code).inc()
    return JSONResponse(error.body(), error.status, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    """The first mistake in a body, without repeating what the client sent."""
    assert isinstance(error, ValidationError)
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return await _refused(request, Refusal(400, "invalid_request", f"{where}: {first['msg']}"))
