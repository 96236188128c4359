"""Values of a table as JSON, and objects in which a key stands once. Pure."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from pipelines.core.json_texts import is_deep
from pipelines.data.reader.cells import Unfit, is_blank, kind_of, shown
from pipelines.data.reader.text import is_sound, mended

TWICE = ["stands", "twice"]  # fits no column of one value


def as_tools(value: Any) -> str | None:
    """The tools that were offered, as JSON; None where there are none."""
    if is_blank(value):
        return None
    if isinstance(value, str):
        try:
            value = from_json(value)
        except (ValueError, RecursionError):
            raise Unfit("text that is not JSON") from None
    if not isinstance(value, list):
        raise Unfit(kind_of(value))
    return as_json(value) if value else None


def as_json(value: Any) -> str:
    """JSON of a value from a table: times and decimals become text. Raises Unfit for NaN."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str, allow_nan=False)
    except (ValueError, TypeError):
        raise Unfit("not a value of JSON") from None


def from_json(text: str) -> Any:
    """The value of a JSON text in a log. NaN is read: tables write it for what is missing.

    Raises RecursionError or ValueError, also for a lone surrogate, for a key that stands twice, and for what
    is nested too deeply.
    """
    value = json.loads(text, object_pairs_hook=without_twins)
    if is_deep(value):
        raise ValueError("nested too deeply")
    if "\\ud" in text.lower() and not is_sound(json.dumps(value, ensure_ascii=False)):
        raise ValueError("a lone surrogate")
    return value


class Twins(ValueError):
    """An object has `key` twice, so that nobody knows which value is meant."""

    def __init__(self, key: str) -> None:
        self.key = key


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: the object. Raises Twins."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Twins(twice(pairs))
    return found


def unclear(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, with an unreadable value for each key that stands there twice."""
    counts = Counter(key for key, _ in pairs)
    return {key: value if counts[key] == 1 else TWICE for key, value in pairs}


def twice(pairs: list[tuple[str, Any]]) -> str:
    """The first key that stands there twice, shortened."""
    counts = Counter(key for key, _ in pairs)
    return shown(mended(next(key for key, count in counts.items() if count > 1)))
