"""The messages of a conversation, as OpenAI's clients send them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.http.options import Body, NoList
from gateway.http.strict_json import shown


class TextPart(Body):
    type: Literal["text"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, part: Any) -> Any:
        if isinstance(part, dict) and isinstance(kind := part.get("type"), str) and kind != "text":
            message = "The model reads text only, and this part is of the type {kind}. Leave it out."
            raise PydanticCustomError("part", message, {"kind": shown(kind)})
        return part


Parts = Annotated[list[TextPart], Field(min_length=1, max_length=100)]


class Message(Body):
    """One turn. The fields after `content` are those of an answer that is put back into the history."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Parts
    name: None = None
    refusal: None = None
    annotations: NoList | None = None
    audio: None = None
    function_call: None = None
    tool_calls: NoList | None = None

    def plain(self) -> dict[str, str]:
        """Role and text, as the model gets them."""
        role = "system" if self.role == "developer" else self.role
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": role, "content": text}
