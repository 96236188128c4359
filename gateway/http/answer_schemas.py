"""What clients get, as /openapi.json describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorDetail(_Answer):
    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str


class ErrorBody(_Answer):
    error: ErrorDetail


class AnsweredByBody(_Answer):
    adapter: str
    route: Literal["production", "canary"]
    fallback: bool
    cached: bool
    dropped_turns: int = 0


class Usage(_Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CalledFunction(_Answer):
    """`arguments`: JSON text."""

    name: str
    arguments: str


class ToolCall(_Answer):
    id: str
    type: Literal["function"]
    function: CalledFunction


class AnswerMessage(_Answer):
    """`content` is "" where the answer only calls tools."""

    role: Literal["assistant"]
    content: str
    tool_calls: list[ToolCall] | None = None


class Likely(_Answer):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprobs(Likely):
    top_logprobs: list[Likely]


class Logprobs(_Answer):
    content: list[TokenLogprobs]
    refusal: None


class Choice(_Answer):
    index: Literal[0]
    message: AnswerMessage
    finish_reason: Literal["stop", "length", "tool_calls"]
    logprobs: Logprobs | None = None


class ChatAnswer(_Answer):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    nightshift: AnsweredByBody


class ToolCallChunk(ToolCall):
    index: int


class Delta(_Answer):
    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[ToolCallChunk] | None = None


class ChunkChoice(_Answer):
    index: Literal[0]
    delta: Delta
    finish_reason: Literal["stop", "length", "tool_calls"] | None
    logprobs: Logprobs | None = None


class ChatChunk(_Answer):
    """One event of a streamed answer. The last one before `[DONE]` may hold the usage and no choice."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    nightshift: AnsweredByBody | None = None


class Prediction(AnsweredByBody):
    """`label`: the answer as text. `value`: what it says, for a task with a schema; null if it is cut."""

    request_id: str
    label: str
    value: Any = None
    finish_reason: Literal["stop", "length"] = "stop"


class FeedbackAnswer(_Answer):
    request_id: str
    result: Literal["stored", "unchanged"]


class Readiness(BaseModel):
    ready: bool
    promotion: int | None
    production: str | None
    canary: str | None
    shadow: str | None
    contact: bool
    problem: str


class ModelEntry(_Answer):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(_Answer):
    object: Literal["list"]
    data: list[ModelEntry]
