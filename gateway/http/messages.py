"""The messages of a conversation, as OpenAI's clients send them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from gateway.http.options import Body, NoList, refuse
from gateway.http.strict_json import shown
from gateway.http.tools import CallId, ToolCalls
from pipelines.core.conversations import normalise_messages
from pipelines.core.tools import as_text, calls_of


class TextPart(Body):
    type: Literal["text"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, part: Any) -> Any:
        if isinstance(part, dict) and isinstance(kind := part.get("type"), str) and kind != "text":
            refuse(f"The model reads text only, and this part is of the type {shown(kind)}. Leave it out.")
        return part


Parts = Annotated[list[TextPart], Field(min_length=1, max_length=100)]


def _empty(fields: dict[str, Any]) -> dict[str, Any]:
    if any(value is not None for value in fields.values()):
        refuse("A field has a value. Leave it out.")
    return fields


# Not dict[str, None], which makes one mistake of each value: thousands of them hold up everybody.
Empty = Annotated[
    dict[str, Any],
    AfterValidator(_empty),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "null"}}),
]


class Message(Body):
    """One turn. The fields after `content` are those of an answer that is put back into the history."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Parts | None = None
    name: None = None
    refusal: None = None
    annotations: NoList | None = None
    audio: None = None
    function_call: None = None
    tool_calls: ToolCalls | None = None
    tool_call_id: CallId | None = None
    provider_specific_fields: Empty | None = None  # LiteLLM adds it

    @model_validator(mode="after")
    def _has_content(self) -> Message:
        if self.content is None and not self.tool_calls:
            refuse("A message has no content. Send its text.", "content")
        if self.tool_calls and self.role != "assistant":
            refuse(f"A message of the role {self.role} calls tools. Only an assistant's may.", "tool_calls")
        if (self.role == "tool") != (self.tool_call_id is not None):
            refuse(
                "The result of a tool names its call by tool_call_id, and no other message.", "tool_call_id"
            )
        return self


Messages = Annotated[list[Message], Field(min_length=1, max_length=200)]


def turns_of(messages: list[Message]) -> list[dict[str, Any]]:
    """The messages in the one form that engines and the journal get."""
    return normalise_messages([_turn(message) for message in messages])


def _turn(message: Message) -> dict[str, Any]:
    turn = message.model_dump(include={"role", "content", "tool_call_id"})
    if message.tool_calls:
        turn["tool_calls"] = as_text(calls_of([call.model_dump() for call in message.tool_calls]))
    return turn
