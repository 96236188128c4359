"""JSON that a model wrote: read strictly, and compared as values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NoReturn

MAX_DEPTH = 100  # what is nested deeper is not read
MAX_DIGITS = 4_000  # of an integer that Python reads as one


class NotJson(ValueError):
    """A text is no JSON value, or holds more than one, or is nested too deeply."""


def json_of(text: str) -> Any:
    """The one JSON value that a text is. NaN and words around it are refused. Raises NotJson."""
    try:
        found = json.loads(text, parse_constant=_no_constant, parse_int=_integer)
    except (ValueError, RecursionError):
        raise NotJson from None
    if _is_deep(found):
        raise NotJson
    return found


def same_value(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0, but neither true nor "1"."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return bool(one == other)


def children_of(value: Any) -> Iterable[Any]:
    """What stands inside an object or a list."""
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for one in level for child in children_of(one)]
    return bool(level)


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= MAX_DIGITS else Decimal(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
