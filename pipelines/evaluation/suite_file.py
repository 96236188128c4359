"""The lines of the suite's file, as they were written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.core.errors import InputError


class Line(NamedTuple):
    """An item as the file holds it; `place` says where, such as "Line 3"."""

    place: str
    values: dict[str, Any]


def lines_of(path: Path) -> Iterator[Line]:
    """Every item of a JSONL file. Only a line feed ends a line; blank lines are left out."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error.reason}).", "Save it as UTF-8.") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield Line(f"Line {number}", _parsed(path, number, line))


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InputError(
            f"Line {number} of {path} is no JSON object: {line.strip()[:60]!r}.", "Write one object a line."
        )
    return values
