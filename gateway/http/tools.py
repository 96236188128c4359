"""Tools that a client offers, and calls of them that it puts back into the history, as in OpenAI's API."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from gateway.http.options import Body, refuse
from gateway.http.strict_json import shown
from pipelines.core.json_texts import MAX_DEPTH, is_deep

MOST_TOOLS = 128
MOST_TOOL_BYTES = 65_536  # of all tools together, as JSON

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
CallId = Annotated[str, Field(min_length=1, max_length=200)]


def _of_an_object(schema: dict[str, Any]) -> dict[str, Any]:
    """Raises a mistake for parameters that describe no object."""
    if (kind := schema.get("type", "object")) != "object":
        refuse(f"The parameters of a tool are of the type {shown(kind)}. Describe an object.")
    return schema


class Function(Body):
    name: Name
    description: str | None = None
    parameters: Annotated[dict[str, Any], AfterValidator(_of_an_object)] | None = None
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function


def _fitting(tools: list[Tool]) -> list[Tool]:
    names = [tool.function.name for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        refuse(f"Two tools have the name {shown(twice)}. Give each a name of its own.")
    written = [tool.model_dump() for tool in tools]
    if is_deep(written):
        refuse(f"The tools are nested more than {MAX_DEPTH} deep. Send flatter schemas.")
    size = len(json.dumps(written, ensure_ascii=False).encode())
    if size > MOST_TOOL_BYTES:
        refuse(f"The tools have {size} bytes together. Send {MOST_TOOL_BYTES} at most.")
    return tools


Tools = Annotated[list[Tool], Field(max_length=MOST_TOOLS), AfterValidator(_fitting)]


class FunctionName(Body):
    name: Name


class NamedTool(Body):
    type: Literal["function"]
    function: FunctionName


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class CalledFunction(Body):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: str


class ToolCall(Body):
    """A call that the model made. `index` is what a streamed one had."""

    id: CallId
    type: Literal["function"]
    function: CalledFunction
    index: int | None = None


ToolCalls = Annotated[list[ToolCall], Field(max_length=MOST_TOOLS)]
