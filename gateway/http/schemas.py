"""What clients send and get: OpenAI's schemas with a few fields of Nightshift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.engines.base import CompletionRequest, Piece
from gateway.serving.calls import AnsweredBy

Short = Annotated[str, Field(min_length=1, max_length=200)]


class _Body(BaseModel):
    # Forbid, so that a client learns which of its options the gateway does not support.
    model_config = ConfigDict(extra="forbid", strict=True)


class Message(_Body):
    role: Literal["system", "user", "assistant", "tool"]
    content: str


class StreamOptions(_Body):
    include_usage: bool = False


class _QuestionBody(_Body):
    user: Short | None = None  # the person as a pseudonym; default: the client itself
    locale: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35)] = "und"
    channel: Annotated[str, Field(min_length=1, max_length=64)] = "api"
    opt_out: bool = False  # no training on this call, and its text is not stored


class ChatRequest(_QuestionBody):
    """POST /v1/chat/completions. With `guided_choice`, as in vLLM, the answer is one of these texts."""

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

    def completion(self, default_tokens: int) -> CompletionRequest:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return CompletionRequest(
            messages=[message.model_dump() for message in self.messages],
            max_tokens=self.max_completion_tokens or self.max_tokens or default_tokens,
            temperature=self.temperature,
            seed=self.seed,
            choices=self.guided_choice,
            stop=stop,
        )


class PredictRequest(_QuestionBody):
    """POST /predict: the answer is one of the task's labels."""

    text: Annotated[str, Field(min_length=1)]


class FeedbackRequest(_Body):
    """POST /v1/feedback. Newer feedback on an answer replaces older."""

    request_id: Short
    rating: Literal[-1, 0, 1] | None = None
    correction: Annotated[str, Field(min_length=1, max_length=8192)] | None = None


def answered_by(by: AnsweredBy) -> dict[str, Any]:
    """Which adapter answered, for the body of an answer."""
    return {
        "adapter": by.adapter,
        "route": by.route,
        "fallback": by.fallback,
        "cached": by.cached,
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


def chat_answer(
    request_id: str, model: str, at: int, by: AnsweredBy, pieces: Sequence[Piece]
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
        "nightshift": answered_by(by),
    }
