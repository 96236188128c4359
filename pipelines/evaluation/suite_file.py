"""The items of the suite's file as they were written: JSON, CSV or Parquet, compressed or not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.core.errors import InputError
from pipelines.data.reader.files import form_of, rows_of_file
from pipelines.data.reader.text import as_text
from pipelines.data.reader.unpack import unpacked


class Line(NamedTuple):
    """An item as the file holds it; `place` says where, such as "line 3", `problem` why it cannot be read."""

    place: str
    values: dict[str, Any]
    problem: str = ""


def lines_of(path: Path, what: str) -> Iterator[Line]:
    """Every item of the file, read as a log is read. Raises InputError for a file that cannot be read."""
    try:
        rows, numbers = list(rows_of_file(path, path.name, csv_nulls=())), _numbers(path)
    except InputError as error:
        raise InputError(
            f"The {what} {path} cannot be read: {error.problem}",
            "Write it as JSON lines, a JSON array, CSV or Parquet.",
        ) from error
    by_line = len(numbers) == len(rows)
    for row, number in zip(rows, numbers if by_line else count(1), strict=by_line):
        place = f"{'line' if by_line else 'item'} {number}"
        found = f"{row.problem} ({row.found or row.text[:60]!r})" if row.values is None or row.problem else ""
        yield Line(place, row.values or {}, found)


def _numbers(path: Path) -> list[int]:
    """The numbers of the lines of JSON that are not blank; none for other files."""
    if form_of(path, path.name).kind != "JSON":
        return []
    with unpacked(path, path.name) as data:
        return [number for number, line in enumerate(as_text(data), start=1) if line.strip()]
