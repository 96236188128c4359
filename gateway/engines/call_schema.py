"""The JSON schema of an answer that has to call tools: a list of calls, each by its tool's own schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gateway.engines.base import CompletionRequest
from pipelines.core.tools import tools_in

MOST_CALLS = 16  # of one answer that has to call
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}


def schema_of(request: CompletionRequest) -> str | None:
    """The schema that an answer follows, as JSON text; None for free text."""
    if not request.must_call:
        return request.json_schema
    return calls_schema(tools_in(request.messages), request.only_tool, request.parallel_calls)


def calls_schema(tools: Sequence[dict[str, Any]], only: str | None, parallel: bool) -> str:
    """As JSON text. `only`: the one tool that is called, once. `parallel`: whether several calls may be."""
    called = [tool["function"] for tool in tools if only in (None, tool["function"]["name"])]
    parts = {f"tool{place}": _placed(tool, f"tool{place}") for place, tool in enumerate(called)}
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool["name"]}, "arguments": {"$ref": f"#/$defs/{part}"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for part, tool in zip(parts, called, strict=True)
    ]
    most = 1 if only or not parallel else MOST_CALLS
    return json.dumps(
        {"type": "array", "items": {"anyOf": calls}, "minItems": 1, "maxItems": most, "$defs": parts}
    )


def _placed(tool: dict[str, Any], part: str) -> dict[str, Any]:
    """A tool's parameters as a part of another schema: what they refer to moves with them."""
    return {"type": "object", **_moved(tool.get("parameters") or NOTHING, f"#/$defs/{part}")}


def _moved(schema: Any, place: str) -> Any:
    if isinstance(schema, list):
        return [_moved(one, place) for one in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, place) for key, value in schema.items()}
    target = schema.get("$ref")
    if isinstance(target, str) and target.startswith("#"):
        moved["$ref"] = place + target[1:]
    return moved
