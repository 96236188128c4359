"""What is sent to an OpenAI-compatible server, and what its refusals mean. Without any connection."""

from __future__ import annotations

import json
from typing import Any

from gateway.engines.base import (
    AdapterMissing,
    Busy,
    CompletionRequest,
    EngineError,
    Piece,
    RequestRefused,
)
from pipelines.core.chat_api import choice_fields, conversation_fields, error_object, schema_fields, words_of
from pipelines.core.tools import apart
from pipelines.core.traffic_split import Adapter

_WRONG_REQUEST = (400, 413, 422)
_ABOUT_LENGTH = ("context_length_exceeded", "context length", "maximum model length", "too many tokens")


def served_name(adapter: Adapter) -> str:
    """An adapter's model name at the server.

    It holds the digest, so that a server never answers from an older adapter of the same version.
    """
    return f"v{adapter.version}-{adapter.digest[:16]}"


def request_body(request: CompletionRequest, name: str, guided: str) -> dict[str, Any]:
    """The body of /v1/chat/completions. `guided` is the field by which the server takes choices."""
    body: dict[str, Any] = {
        "model": name,
        **conversation_fields(request.messages),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.seed is not None:
        body["seed"] = request.seed
    if stop := [text for text in request.stop if text]:
        body["stop"] = stop
    if request.logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if "tools" in body:
        body |= {"tool_choice": _choice(request)}
        body |= {} if request.parallel_calls else {"parallel_tool_calls": False}
    if request.json_schema is not None:
        body |= schema_fields(request.json_schema)
    if request.choices is not None:
        body |= choice_fields(request.choices, guided)
    return body


def _choice(request: CompletionRequest) -> str | dict[str, Any]:
    if request.only_tool:
        return {"type": "function", "function": {"name": request.only_tool}}
    return "required" if request.must_call else "auto"


def chosen(pieces: list[Piece], request: CompletionRequest) -> Piece:
    """The choice as one piece. Raises EngineError if the server ignored the choices."""
    text, last = "".join(piece.text for piece in pieces), pieces[-1]
    by_text = {choice.strip(): choice for choice in request.choices or ()}
    if text not in by_text:  # the reader drops white space at both ends
        raise EngineError(
            f"The server answered {len(text)} characters that are none of the choices.",
            "Set serving.guided to the field that the server takes choices by.",
        )
    return Piece(by_text[text], "stop", last.tokens_in, last.tokens_out)


def check_json(pieces: list[Piece]) -> None:
    """Raises EngineError if a whole answer is no JSON: the server ignored the schema."""
    text = "".join(piece.text for piece in pieces)
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EngineError(
            f"The server answered {len(text)} characters that are no JSON.",
            "Use a server that takes response_format.",
        ) from error


def check_calls(last: Piece, request: CompletionRequest) -> None:
    """Raises EngineError for an answer that calls what nobody offered, or that had to call a tool."""
    if last.calls and apart(request.messages)[0] is None:
        raise EngineError("The server called tools, and none were offered.", "See the server's log.")
    if request.must_call and last.finish_reason != "length" and not last.calls:
        raise EngineError(
            "The server called no tool, and the request wanted a call.",
            "Use a server that takes tool_choice.",
        )


def error_of(status: int, text: str, name: str, retry_after: str = "") -> EngineError:
    """The error that an HTTP status means. `text` is the response's body, `name` the model asked for."""
    if status in (429, 503):
        return Busy(0, float(retry_after) if retry_after.isdecimal() else 1.0)
    found = f"status {status}: {words_of(text)}"
    if status == 404:
        return AdapterMissing(f"The server has no model {name} ({found}).", "Load the adapter first.")
    return EngineError(f"The server refused the request ({found}).", "See the server's log.")


def refusal_of(status: int, text: str, name: str, retry_after: str = "") -> RequestRefused | EngineError:
    """The error that the HTTP status of a completion means: the request's own fault, or the server's."""
    if status not in _WRONG_REQUEST:
        return error_of(status, text, name, retry_after)
    error = error_object(text)
    if "model_not_found" in (error.get("code"), error.get("type")) or error.get("param") == "model":
        return error_of(404, text, name)
    return refused(text)


def refused(text: str) -> RequestRefused:
    """A request that the server calls wrong, in the server's own words."""
    words = words_of(text)
    code = "content_filter" if error_object(text).get("code") == "content_filter" else "invalid_request"
    if any(mark in f"{error_object(text).get('code')} {words}".lower() for mark in _ABOUT_LENGTH):
        code = "context_length_exceeded"
    return RequestRefused(code, f"the engine refuses this request: {words}")
