"""What clients send and get: OpenAI's shapes, with Nightshift's few fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.engines.base import Completion, Piece
from gateway.serving.calls import Shown

Short = Annotated[str, Field(min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)  # an option that would be ignored is refused


class Message(_Body):
    role: Literal["system", "user", "assistant", "tool"]
    content: str


class StreamOptions(_Body):
    include_usage: bool = False


class _Asking(_Body):
    user: Short | None = None  # the person who asks, as a pseudonym; without it the client is the person
    locale: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35)] = "und"
    channel: Annotated[str, Field(min_length=1, max_length=64)] = "api"
    opt_out: bool = False  # nothing is learned from this call and its text is not kept


class ChatRequest(_Asking):
    """POST /v1/chat/completions. `guided_choice` as in vLLM: the answer is one of these."""

    model: Short
    messages: Annotated[list[Message], Field(min_length=1, max_length=200)]
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    guided_choice: Annotated[list[Short], Field(min_length=1, max_length=1000)] | None = None
    n: Literal[1] = 1

    def completion(self, default_tokens: int) -> Completion:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Completion(
            messages=[message.model_dump() for message in self.messages],
            max_tokens=self.max_completion_tokens or self.max_tokens or default_tokens,
            temperature=self.temperature,
            seed=self.seed,
            choices=self.guided_choice,
            stop=stop,
        )


class PredictRequest(_Asking):
    """POST /predict: a text, answered with one of the task's labels."""

    text: Annotated[str, Field(min_length=1)]


class FeedbackRequest(_Body):
    """POST /v1/feedback: replaces earlier feedback on the same answer."""

    request_id: Short
    rating: Literal[-1, 0, 1] | None = None
    correction: Annotated[str, Field(min_length=1, max_length=8192)] | None = None


def about(shown: Shown) -> dict[str, Any]:
    """Who answered, in the body of an answer."""
    return {
        "adapter": shown.adapter,
        "route": shown.route,
        "fallback": shown.fallback,
        "cached": shown.cached,
    }


def headers(request_id: str, shown: Shown) -> dict[str, str]:
    return {
        "X-Request-ID": request_id,
        "X-Nightshift-Adapter": shown.adapter,
        "X-Nightshift-Fallback": str(shown.fallback).lower(),
        "X-Nightshift-Cache": "hit" if shown.cached else "miss",
    }


def usage(last: Piece) -> dict[str, int]:
    return {
        "prompt_tokens": last.tokens_in,
        "completion_tokens": last.tokens_out,
        "total_tokens": last.tokens_in + last.tokens_out,
    }


def chat_answer(
    request_id: str, model: str, at: int, shown: Shown, pieces: Sequence[Piece]
) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    message = {"role": "assistant", "content": "".join(piece.text for piece in pieces)}
    return {
        "id": request_id,
        "object": "chat.completion",
        "created": at,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": pieces[-1].finish_reason}],
        "usage": usage(pieces[-1]),
        "nightshift": about(shown),
    }


class Chunks:
    """The server-sent events of one answer."""

    def __init__(self, request_id: str, model: str, at: int, shown: Shown) -> None:
        self._head = {"id": request_id, "object": "chat.completion.chunk", "created": at, "model": model}
        self._shown = shown
        self._is_first = True

    def event(self, piece: Piece) -> bytes:
        delta = {"content": piece.text}
        extra: dict[str, Any] = {}
        if self._is_first:
            delta = {"role": "assistant", **delta}
            extra = {"nightshift": about(self._shown)}
            self._is_first = False
        choice = {"index": 0, "delta": delta, "finish_reason": piece.finish_reason}
        return event({**self._head, "choices": [choice], **extra})

    def usage(self, last: Piece) -> bytes:
        return event({**self._head, "choices": [], "usage": usage(last)})


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
