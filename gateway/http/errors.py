"""Turns refusals and bodies that do not validate into HTTP responses, and counts them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from gateway.errors import Refusal
from gateway.http.options import WithoutEffect
from gateway.http.strict_json import read_object, shown

M = TypeVar("M", bound=BaseModel)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error in OpenAI's shape: refusals, the framework's own errors, and bugs (500)."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    request.app.state.service.metrics.refusals.labels(error.status, error.code).inc()
    return JSONResponse(error.body(), error.status, error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """An unknown path or a wrong method."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    message = f"{phrase}: {request.method} {shown(request.url.path)}. See /openapi.json for what there is."
    code = phrase.lower().replace(" ", "_")
    return await _refused(request, Refusal(error.status_code, code, message, error.headers))


async def _bug(request: Request, error: Exception) -> Response:
    """The server logs the error itself."""
    return await _refused(request, Refusal(500, "internal_error", "the gateway failed: see its log"))


def validated(model: type[M], body: bytes) -> M:
    """A body as `model` describes it. Raises Refusal (400) that names the first field that is wrong."""
    data = read_object(body)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # Of a field that may be of two types, the deepest mistake is the one that was meant.
        worst = max(details, key=lambda one: len(_place(data, one)))
        first = details[0] if _place(data, details[0])[:1] != _place(data, worst)[:1] else worst
        raise _invalid(data, first) from None


def _invalid(data: dict[str, Any], detail: Any) -> Refusal:
    place = _place(data, detail)
    param = detail.get("ctx", {}).get("param") or _path(place)
    return Refusal(400, "invalid_request", _message(param, place, detail), param=param)


def _message(param: str, place: list[str | int], detail: Any) -> str:
    kind, found = detail["type"], shown(detail["input"])
    if kind in ("combination", "part"):
        return str(detail["msg"])
    if kind == "missing":
        return f"{param} is missing. Send it."
    if kind == "extra_forbidden":
        return f"{param} is unknown to this gateway. Leave it out."
    if place[0] in WithoutEffect.model_fields:
        return f"{param} is not supported, and is {found}. {detail['msg']}: leave it out."
    return f"{param} is {found}. {detail['msg']}."


def _place(data: Any, detail: Any) -> list[str | int]:
    """Where in the body a mistake is: pydantic's location without the names of the types it tried."""
    place: list[str | int] = []
    for part in detail["loc"]:
        is_there = (
            part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        )
        if is_there:
            data = data[part]
        if is_there or (detail["type"] == "missing" and part == detail["loc"][-1]):
            place.append(part)
    return place


def _path(place: list[str | int]) -> str:
    """`messages[0].content`"""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")
