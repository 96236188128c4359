"""The messages of a conversation, as OpenAI's clients send them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from gateway.http.options import Body, NoList, refuse
from gateway.http.strict_json import shown
from pipelines.core.conversations import normalise_messages


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

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Parts | None = None
    name: None = None
    refusal: None = None
    annotations: NoList | None = None
    audio: None = None
    function_call: None = None
    tool_calls: NoList | None = None
    provider_specific_fields: Empty | None = None  # LiteLLM adds it

    @model_validator(mode="after")
    def _has_content(self) -> Message:
        if self.content is None:
            refuse("A message has no content. Send its text.", "content")
        return self


Messages = Annotated[list[Message], Field(min_length=1, max_length=200)]


def turns_of(messages: list[Message]) -> list[dict[str, Any]]:
    """The messages in the one form that engines and the journal get."""
    return normalise_messages([message.model_dump(include={"role", "content"}) for message in messages])
