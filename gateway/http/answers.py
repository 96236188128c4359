"""What clients get: bodies in OpenAI's shape, with which adapter answered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from gateway.engines.base import Piece
from gateway.serving.calls import AnsweredBy
from pipelines.core.tools import arguments_text

UNKNOWN_CHARACTER = "\ufffd"
UNKNOWN_LOGPROB = -9999.0


def answered_by(by: AnsweredBy) -> dict[str, Any]:
    """Which adapter answered, for the body of an answer."""
    return {
        "adapter": by.adapter,
        "route": by.route,
        "fallback": by.fallback,
        "cached": by.cached,
        "dropped_turns": by.dropped_turns,
    }


def answer_headers(request_id: str, by: AnsweredBy) -> dict[str, str]:
    """The same for the HTTP headers, with the request's id."""
    return {
        "X-Request-ID": request_id,
        "X-Nightshift-Adapter": by.adapter,
        "X-Nightshift-Fallback": str(by.fallback).lower(),
        "X-Nightshift-Cache": "hit" if by.cached else "miss",
    }


def usage(last: Piece) -> dict[str, int]:
    """Token counts, from the last piece of an answer."""
    return {
        "prompt_tokens": last.tokens_in,
        "completion_tokens": last.tokens_out,
        "total_tokens": last.tokens_in + last.tokens_out,
    }


def logprobs(last: Piece) -> dict[str, Any]:
    """The tokens of an answer with their log-probabilities; {} where none were asked for."""
    if not last.tokens:
        return {}
    content = [
        {**_token(one.text, one.logprob), "top_logprobs": [_token(*likely) for likely in one.likeliest]}
        for one in last.tokens
    ]
    return {"logprobs": {"content": content, "refusal": None}}


def _token(text: str, logprob: float | None) -> dict[str, Any]:
    """`bytes` is null for a part of a character. OpenAI writes -9999 for a value that is not known."""
    whole = None if UNKNOWN_CHARACTER in text else list(text.encode())
    return {"token": text, "logprob": UNKNOWN_LOGPROB if logprob is None else logprob, "bytes": whole}


def tool_calls(request_id: str, last: Piece) -> list[dict[str, Any]]:
    """The calls of tools of an answer. An id has nine letters and digits, as some chat templates want it."""
    return [
        {
            "id": hashlib.sha256(f"{request_id} {place}".encode()).hexdigest()[:9],
            "type": "function",
            "function": {"name": call.name, "arguments": arguments_text(call.arguments)},
        }
        for place, call in enumerate(last.calls)
    ]


def chat_answer(
    request_id: str, model: str, at: int, by: AnsweredBy, pieces: Sequence[Piece]
) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(piece.text for piece in pieces)}
    if calls := tool_calls(request_id, pieces[-1]):
        message["tool_calls"] = calls
    return {
        "id": request_id,
        "object": "chat.completion",
        "created": at,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": pieces[-1].finish_reason,
                **logprobs(pieces[-1]),
            }
        ],
        "usage": usage(pieces[-1]),
        "nightshift": answered_by(by),
    }
