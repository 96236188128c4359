"""`response_format` as in OpenAI's API: plain text, any JSON object, or JSON that follows a schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from gateway.http.options import Body, refuse

MOST_SCHEMA_BYTES = 16_384
ANY_OBJECT = '{"type": "object"}'


class TextFormat(Body):
    type: Literal["text"]


class ObjectFormat(Body):
    type: Literal["json_object"]


class NamedSchema(Body):
    """`strict` has no effect: an answer always follows the schema."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: Annotated[str, Field(max_length=1000)] | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None

    @field_validator("schema_")
    @classmethod
    def _is_small(cls, schema: dict[str, Any]) -> dict[str, Any]:
        if (size := len(json.dumps(schema))) > MOST_SCHEMA_BYTES:
            refuse(f"The schema has {size} bytes. Send {MOST_SCHEMA_BYTES} at most.")
        return schema


class SchemaFormat(Body):
    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")]


def schema_text(format_: ResponseFormat | None) -> str | None:
    """The JSON schema that an answer must follow, as JSON text; None for plain text.

    Its keys stay in their order, as the answer's have the same one.
    """
    if isinstance(format_, SchemaFormat):
        return json.dumps(format_.json_schema.schema_)
    return ANY_OBJECT if isinstance(format_, ObjectFormat) else None
