"""Whether an answer calls the tools that it should."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipelines.core.tools import as_text, read_answer


def tool_calls(answer: str, reference: str) -> float:
    """1 where both call the same tools with equal arguments.

    Calls are read as they are for training (`core.tools.read_answer`). Words beside them, their ids and
    order, and arguments' order do not count. Any other text calls nothing, so two of those score 1.
    """
    return float(_counted(answer) == _counted(reference))


def _counted(text: str) -> Counter[str]:
    """How often each call stands in an answer."""
    return Counter(as_text([call.name, _same_numbers(call.arguments)]) for call in read_answer(text)[1])


def _same_numbers(value: Any) -> Any:
    """The value with 1 in place of 1.0: JSON has one kind of number."""
    if isinstance(value, dict):
        return {key: _same_numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_same_numbers(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
