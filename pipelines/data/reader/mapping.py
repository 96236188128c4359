"""From a row as it was delivered to our names, by `[ingest.columns]` and the format. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.core.interactions import CONSENT
from pipelines.data.reader.strict_json import from_json

ABSENT = object()  # the row has no such key; None stands for a key whose value is null


def mapped(
    row: Mapping[str, Any], converted: Mapping[str, Any], columns: Mapping[str, str]
) -> dict[str, Any]:
    """The row under our names: what the format found, and what the columns name in the row itself.

    A consent of the row is never lost, whatever the format reads.
    """
    consent = {name: row[name] for name in CONSENT if name in row and name not in columns}
    found = {ours: at(row, theirs) for ours, theirs in columns.items()}
    return {**converted, **consent, **{ours: value for ours, value in found.items() if value is not ABSENT}}


def at(row: Any, path: str) -> Any:
    """The value under a key, or under a dotted path into objects, lists and texts of JSON; else ABSENT."""
    if isinstance(row, Mapping) and path in row:
        return row[path]
    head, dot, rest = path.partition(".")
    inner = _inner(row, head)
    return at(opened(inner), rest) if dot and inner is not ABSENT else inner


def _inner(row: Any, key: str) -> Any:
    if isinstance(row, Mapping):
        return row.get(key, ABSENT)
    if not isinstance(row, list):
        return ABSENT
    if key.isdecimal():
        return row[int(key)] if int(key) < len(row) else ABSENT
    if key in row:  # a list of tags
        return True
    named = (one for one in row if isinstance(one, Mapping) and key in (one.get("name"), one.get("key")))
    return next(named, ABSENT)  # a list of scores


def opened(value: Any) -> Any:
    """An object or list that a table holds as a text of JSON."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return from_json(value)
        except (ValueError, RecursionError):
            return value
    return value
