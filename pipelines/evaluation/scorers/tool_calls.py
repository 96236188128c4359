"""Whether an answer calls the tools that it should."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.evaluation.scorers.json_values import NotJson, json_of, same_value

Call = tuple[str, Any]  # the tool's name and the arguments


def tool_calls(answer: str, reference: str) -> float:
    """1 where both call the same tools with equal arguments.

    Calls are a JSON list, or one JSON object, as OpenAI writes them: `{"function": {"name", "arguments"}}`
    or `{"name", "arguments"}`. Words beside them, their ids and order, and arguments' order do not count.
    Any other text calls nothing, so two of those score 1.
    """
    found, wanted = calls_of(answer), calls_of(reference)
    if len(found) != len(wanted):
        return 0.0
    for call in found:
        place = next((place for place, other in enumerate(wanted) if _same(call, other)), None)
        if place is None:
            return 0.0
        del wanted[place]
    return 1.0


def calls_of(text: str) -> list[Call]:
    """The calls that a text is; none where it is something else."""
    try:
        value = json_of(text)
    except NotJson:
        return []
    if isinstance(value, Mapping) and "tool_calls" in value:  # words stand beside the calls
        value = value["tool_calls"]
    calls = [_call(one) for one in (value if isinstance(value, list) else [value])]
    return [] if None in calls else [call for call in calls if call]


def _call(value: Any) -> Call | None:
    if not isinstance(value, Mapping):
        return None
    function = value.get("function", value)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    return function["name"], _arguments(function.get("arguments"))


def _arguments(written: Any) -> Any:
    """OpenAI writes them as JSON text. None are as good as an empty object."""
    if isinstance(written, str):
        try:
            written = json_of(written)
        except NotJson:
            return written
    return {} if written is None else written


def _same(one: Call, other: Call) -> bool:
    return one[0] == other[0] and same_value(one[1], other[1])
