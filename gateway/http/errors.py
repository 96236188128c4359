"""Turns refusals and bodies that do not validate into HTTP responses, and counts them."""

from __future__ import annotations

import functools
import operator
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from gateway.engines.base import RequestRefused
from gateway.errors import Refusal
from gateway.http.messages import Message
from gateway.http.options import WithoutEffect
from gateway.http.strict_json import read_object, shown

TAKEN = {"role", "content", "tool_calls", "tool_call_id"}  # fields of a message that may have a value
UNSUPPORTED = {0: {*WithoutEffect.model_fields}, 2: {*Message.model_fields} - TAKEN}  # by depth in the body
MOST_MISTAKES = 2_000  # listing more would take longer than other requests should wait
MOST_NAME = 100  # characters of a key that an error repeats
M = TypeVar("M", bound=BaseModel)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error in OpenAI's shape: refusals, the framework's own errors, and bugs (500)."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestRefused, _refused_by_engine)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    request.app.state.service.metrics.refusals.labels(error.status, error.code).inc()
    return JSONResponse(error.body(), error.status, error.headers)


async def _refused_by_engine(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefused)
    return await _refused(request, of_engine(error))


def of_engine(error: RequestRefused) -> Refusal:
    """What the caller gets for a request that no adapter could answer."""
    param = "messages" if error.code == "context_length_exceeded" else None
    return Refusal(error.status, error.code, error.message, param=param)


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
        if error.error_count() > MOST_MISTAKES:
            message = f"The body has {error.error_count()} mistakes. See /openapi.json for what it may hold."
            raise Refusal(400, "invalid_request", message) from None
        raise _invalid(data, error.errors(include_url=False)) from None


def _invalid(data: dict[str, Any], mistakes: list[Any]) -> Refusal:
    """The first mistake. In a field that may be of two types, the deepest one, as that type was meant."""

    def depth(mistake: Any) -> tuple[int, bool]:
        return len(_place(data, mistake)), not mistake["type"].endswith("_type")

    field = _place(data, mistakes[0])[:2]
    mistake = max((one for one in mistakes if _place(data, one)[: len(field)] == field), key=depth)
    place = _place(data, mistake)
    if option := _unsupported(place):
        param = _path(option)
        found = shown(functools.reduce(operator.getitem, option, data))
        message = f"{param} is {found}, and this gateway does not support that. Leave it out."
        return Refusal(400, "invalid_request", message, param=param)
    more = [mistake["ctx"]["param"]] if "param" in mistake.get("ctx", {}) else []
    place += more
    # An option is named as a whole, a message by its place.
    named = place if place[:1] == ["messages"] else [part for part in place if isinstance(part, str)]
    message = _message(_path(place), mistake)
    return Refusal(400, "invalid_request", message, param=_path(named) or None)


def _unsupported(place: list[Any]) -> list[Any]:
    """The place of the option that may only have values without effect, if the mistake is in one."""
    found = (
        place[: depth + 1] for depth, names in UNSUPPORTED.items() if {*place[depth : depth + 1]} & names
    )
    return next(found, [])


def _message(param: str, mistake: Any) -> str:
    kind = mistake["type"]
    if kind == "refused":
        return str(mistake["msg"])
    if kind == "missing":
        return f"{param} is missing. Send it."
    if kind == "extra_forbidden":
        return f"{param} is unknown to this gateway. Leave it out."
    wanted = "Input should be an object" if kind == "model_type" else mistake["msg"]
    return f"{param} is {shown(mistake['input'])}. {wanted}."


def _place(data: Any, detail: Any) -> list[Any]:
    """Where in the body a mistake is: pydantic's location without the names of the types it tried."""
    place: list[Any] = []
    for part in detail["loc"]:
        is_there = (
            part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        )
        if is_there:
            data = data[part]
        if is_there or (detail["type"] == "missing" and part == detail["loc"][-1]):
            place.append(part)
    return place


def _path(place: list[Any]) -> str:
    """`messages[0].content`, without the rest of a key that is long."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part[:MOST_NAME]}" for part in place)
    return "".join(parts).removeprefix(".")
