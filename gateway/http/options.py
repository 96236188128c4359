"""The options of OpenAI's chat API that this gateway does not have.

A value that changes nothing is taken, because clients send their defaults. Any other value is refused by
name, because an option that is ignored misleads. docs/gateway.md lists every option; a test asks for each.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError


class Body(BaseModel):
    """Base of all bodies and their parts."""

    # Forbid, so that a client learns which of its options the gateway does not support.
    model_config = ConfigDict(extra="forbid", strict=True)


def refuse(message: str, param: str | None = None) -> NoReturn:
    """Ends a validation with a message of our own. `param` names the field, if the place does not."""
    raise PydanticCustomError(
        "refused", "{message}", {"message": message} | ({"param": param} if param else {})
    )


def _false(value: bool) -> bool:
    if value:
        refuse("Only false is taken here.")
    return value


# Not Literal, which takes true for 1 and 0 for false.
No = Annotated[bool, AfterValidator(_false), WithJsonSchema({"type": "boolean", "const": False})]
Zero = Annotated[float, Field(ge=0, le=0)]
One = Annotated[float, Field(ge=1, le=1)]
NoList = Annotated[list[Any], Field(max_length=0)]
NoObject = Annotated[dict[str, Any], Field(max_length=0)]


class WithoutEffect(Body):
    """Each field takes null and the values that change nothing."""

    audio: None = None
    frequency_penalty: Zero | None = None
    function_call: Literal["none", "auto"] | None = None
    functions: NoList | None = None
    logit_bias: NoObject | None = None
    metadata: NoObject | None = None
    modalities: Annotated[list[Literal["text"]], Field(min_length=1, max_length=1)] | None = None
    moderation: None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    prediction: None = None
    presence_penalty: Zero | None = None
    prompt_cache_key: Annotated[str, Field(max_length=200)] | None = None
    prompt_cache_options: None = None
    prompt_cache_retention: Literal["in_memory", "in-memory"] | None = None
    reasoning_effort: Literal["none"] | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: No | None = None
    top_p: One | None = None
    verbosity: Literal["medium"] | None = None
    web_search_options: None = None
