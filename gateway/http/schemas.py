"""What clients send: OpenAI's chat request with a few fields of Nightshift, /predict and feedback."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from gateway.engines.base import CompletionRequest
from gateway.http.messages import Messages, turns_of
from gateway.http.options import Body, No, WithoutEffect, refuse
from gateway.http.response_format import ResponseFormat, schema_text
from gateway.http.strict_json import shown
from gateway.http.tools import NamedTool, Tool, ToolChoice, Tools
from pipelines.core.tools import with_tools

GREEDY_BELOW = 1e-3  # a smaller temperature takes the most likely token, and its logits would overflow
MOST_CHOICE_BYTES = 16_384
MOST_LIKELY = 20  # tokens beside each token of an answer, as in OpenAI's API

Short = Annotated[str, Field(min_length=1, max_length=200)]
Label = Annotated[str, Field(max_length=200)]
Stop = Annotated[str, Field(min_length=1, max_length=200)]
Locale = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35)]
Tokens = Annotated[int, Field(gt=0)]


class StreamOptions(Body):
    include_usage: bool | None = None
    include_obfuscation: No | None = None


class QuestionBody(Body):
    """What any question may say beside its text."""

    user: Label | None = None  # the person as a pseudonym; "" and null: none is named
    locale: Locale | None = None
    channel: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    opt_out: bool | None = None  # no training on this call, and its text is not stored


class ChatRequest(WithoutEffect, QuestionBody):
    """POST /v1/chat/completions. With `guided_choice`, as in vLLM, the answer is one of these texts."""

    model: Short
    messages: Messages
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    guided_choice: Annotated[list[Short], Field(min_length=1, max_length=1000)] | None = None
    response_format: ResponseFormat | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LIKELY)] | None = None
    safety_identifier: Label | None = None  # OpenAI's newer name of `user`

    @field_validator("guided_choice")
    @classmethod
    def _choices(cls, choices: list[str] | None) -> list[str] | None:
        if not choices:
            return choices
        if odd := next((choice for choice in choices if choice != choice.strip()), None):
            refuse(f"The choice {shown(odd)} begins or ends with white space. Leave that out.")
        if len(set(choices)) < len(choices):
            twice = next(choice for choice in choices if choices.count(choice) > 1)
            refuse(f"The choice {shown(twice)} is there twice. Send each choice once.")
        if (size := sum(len(choice.encode()) for choice in choices)) > MOST_CHOICE_BYTES:
            refuse(f"The choices have {size} bytes together. Send {MOST_CHOICE_BYTES} at most.")
        return choices

    @model_validator(mode="after")
    def _fits_together(self) -> ChatRequest:
        if self.stream_options and not self.stream:
            refuse("stream_options needs stream: true. Leave it out, or stream the answer.", "stream_options")
        if self.max_tokens and self.max_completion_tokens not in (None, self.max_tokens):
            found = f"max_tokens is {self.max_tokens} and max_completion_tokens {self.max_completion_tokens}."
            refuse(f"{found} Send one of them.", "max_completion_tokens")
        if self.user and self.safety_identifier not in (None, "", self.user):
            found = "user and safety_identifier name two persons. Send one of them."
            refuse(found, "safety_identifier")
        if self.top_logprobs and not self.logprobs:
            refuse("top_logprobs needs logprobs: true. Leave it out, or ask for both.", "top_logprobs")
        if self.guided_choice:
            self._fits_choices()
        self._fits_tools()
        return self

    def _fits_tools(self) -> None:
        offered = {tool.function.name for tool in self.tools or ()}
        asked = self.tool_choice
        if asked in ("none", "auto", None) and not (self.offered and schema_text(self.response_format)):
            return
        if not offered:
            refuse("tool_choice asks for a call, and there are no tools. Send tools.", "tool_choice")
        if isinstance(asked, NamedTool) and asked.function.name not in offered:
            refuse(f"There is no tool {shown(asked.function.name)}. Name one of the tools.", "tool_choice")
        if schema_text(self.response_format):
            found = "response_format asks for JSON, and tools for calls. Leave one of them out"
            refuse(f'{found}, or send tool_choice: "none".', "response_format")

    def _fits_choices(self) -> None:
        """A choice is made greedily and is whole, so options of sampling and length would be ignored."""
        others = {
            "temperature": self.is_sampled,
            "seed": self.seed is not None,
            "max_tokens": self.max_tokens,
            "max_completion_tokens": self.max_completion_tokens,
            "stop": self.stop,
            "response_format": schema_text(self.response_format),
            "logprobs": self.logprobs,
            "tools": self.offered,
        }
        for name, is_set in others.items():
            if is_set:
                refuse(f"{name} has no effect beside guided_choice. Leave one of them out.", name)

    @property
    def offered(self) -> list[Tool]:
        """The tools that may be called. A tool that may not be is not shown to the model."""
        return [] if self.tool_choice == "none" else self.tools or []

    @property
    def is_sampled(self) -> bool:
        """Whether the answer is drawn, not the most likely one."""
        return self.temperature is not None and self.temperature >= GREEDY_BELOW

    @property
    def person(self) -> str:
        """Who asks, as the client names them; "" if it names nobody."""
        return self.user or self.safety_identifier or ""

    def completion(self, default_tokens: int) -> CompletionRequest:
        """The request for an engine."""
        named = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else None
        return CompletionRequest(
            messages=with_tools(turns_of(self.messages), [_written(tool) for tool in self.offered]),
            max_tokens=self.max_completion_tokens or self.max_tokens or default_tokens,
            temperature=self.temperature or 0.0 if self.is_sampled else 0.0,
            seed=self.seed,
            choices=self.guided_choice,
            json_schema=schema_text(self.response_format),
            must_call=self.tool_choice == "required" or bool(named),
            only_tool=named,
            parallel_calls=self.parallel_tool_calls is not False,
            logprobs=bool(self.logprobs),
            top_logprobs=self.top_logprobs or 0,
            stop=[self.stop] if isinstance(self.stop, str) else self.stop or [],
        )


def _written(tool: Tool) -> dict[str, Any]:
    """A tool as the client wrote it, without what it left out."""
    return {"type": tool.type, "function": tool.function.model_dump(exclude_none=True)}


class PredictRequest(QuestionBody):
    """POST /predict: the task's answer to a text, or to a conversation."""

    text: Annotated[str, Field(min_length=1)] | None = None
    messages: Messages | None = None

    @model_validator(mode="after")
    def _asks_once(self) -> PredictRequest:
        if self.text is None and self.messages is None:
            refuse("The body has neither a text nor messages. Send one of them.", "text")
        if self.text is not None and self.messages is not None:
            refuse("The body has a text and messages. Send one of them.", "messages")
        return self

    @property
    def turns(self) -> list[dict[str, Any]]:
        """What is asked, in one form."""
        return turns_of(self.messages) if self.messages else [{"role": "user", "content": self.text}]

    @property
    def person(self) -> str:
        """Who asks, as the client names them; "" if it names nobody."""
        return self.user or ""


class FeedbackRequest(Body):
    """POST /v1/feedback. Newer feedback on an answer replaces older."""

    request_id: Short
    rating: Annotated[int, Field(ge=-1, le=1)] | None = None
    correction: Annotated[str, Field(max_length=8192, pattern=r"\S")] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackRequest:
        if self.rating is None and self.correction is None:
            refuse("The feedback has neither a rating nor a correction. Send one of them.", "rating")
        return self
