"""JSON texts without doubt: what two readers could understand differently is no JSON here. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

MAX_DEPTH = 64  # lists and objects within each other
MAX_DIGITS = 308  # of a whole number that every float can hold


class NotJson(ValueError):
    """A text is no JSON value. The error says why, as the end of a sentence that begins with "it"."""


def json_of(text: str) -> Any:
    """The one JSON value that a text is. Raises NotJson.

    Refused are also NaN, numbers that no float holds, a key that stands twice, half characters and what is
    nested more than MAX_DEPTH deep.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("is nested too deeply") from None
    except ValueError:
        raise NotJson("is not JSON") from None
    if is_deep(value):
        raise NotJson("is nested too deeply")
    if _may_hold_half(text) and not _is_sound(value):
        raise NotJson("holds half a character")
    return value


def same_value(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0, but neither true nor "1"."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return bool(one == other)


def canonical(value: Any) -> str:
    """A text that two values have in common where they are the `same_value`, and only there."""
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)


def children_of(value: Any) -> Iterable[Any]:
    """What stands inside an object or a list."""
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()


def is_deep(value: Any) -> bool:
    """Whether lists and objects of a value are nested more than MAX_DEPTH deep."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for one in level for child in children_of(one)]
    return bool(level)


def _may_hold_half(text: str) -> bool:
    return not text.isascii() or "\\ud" in text or "\\uD" in text


def _is_sound(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJson("has a key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"holds {name}, which is no number of JSON")


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise NotJson("holds a number that is too large")
    return number


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise NotJson("holds a number that is too large")
    return int(digits)
