"""The first rows of a file, and its columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.core.config.data import CSV_NULLS
from pipelines.core.errors import InputError
from pipelines.data.reader.cells import is_missing, kind_of
from pipelines.data.reader.csv_rows import separator_of
from pipelines.data.reader.files import form_of, rows_of_file
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.text import as_text
from pipelines.data.reader.unpack import unpacked
from pipelines.operations.inspect.finding import FoundColumn, LookedAt

MOST_ROWS = 5_000
EXAMPLE = 48  # characters


def look_at(file: Path) -> tuple[LookedAt, list[Raw]]:
    """What a file is, and its first rows. Raises InputError for what is no log."""
    _refuse(file)
    form = form_of(file, file.name)
    rows = list(islice(rows_of_file(file, file.name, CSV_NULLS), MOST_ROWS + 1))
    is_whole, rows = len(rows) <= MOST_ROWS, rows[:MOST_ROWS]
    if not rows:
        raise InputError(f"{file} holds no rows.", "Pass a file with at least one.")
    looked_at = LookedAt(
        file=str(file),
        kind=form.kind,
        size_bytes=file.stat().st_size,
        packing=form.packing,
        encoding=form.encoding,
        separator=_separator(file) if form.kind == "CSV" else None,
        rows=len(rows),
        is_whole=is_whole,
        unreadable=dict(Counter(raw.problem for raw in rows if raw.problem)),
        columns=_columns(rows),
    )
    return looked_at, rows


def _refuse(file: Path) -> None:
    if not file.exists():
        raise InputError(f"There is no file {file}.", "Check the path.")
    if file.is_dir():
        names = ", ".join(sorted(one.name for one in islice(file.iterdir(), 5)))
        raise InputError(f"{file} is a folder (it holds {names or 'nothing'}).", "Pass one of its files.")
    if not file.stat().st_size:
        raise InputError(f"{file} is empty.", "Pass a file with at least one row.")


def _separator(file: Path) -> str:
    with unpacked(file, file.name) as data:
        return separator_of(as_text(data).readline(1 << 20))


def _columns(rows: list[Raw]) -> list[FoundColumn]:
    """Every column, also those one level inside objects and named scores, in their order."""
    values: dict[str, list[Any]] = {}
    for raw in rows:
        for name, value in _flat(raw.values or {}):
            values.setdefault(name, []).append(value)
    return [_column(name, found, len(rows)) for name, found in values.items()]


def _flat(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        yield name, value
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        elif isinstance(value, list):
            named = (one for one in value if isinstance(one, Mapping) and isinstance(one.get("name"), str))
            yield from ((f"{name}.{one['name']}.value", one["value"]) for one in named if "value" in one)


def _column(name: str, values: list[Any], rows: int) -> FoundColumn:
    known = [value for value in values if not is_missing(value)]
    kinds = Counter(_kind(value) for value in known)
    kind = " or ".join(kind for kind, _ in kinds.most_common(3)) or "empty"
    return FoundColumn(name, kind, round(len(known) / rows, 4), _example(known[0]) if known else "")


def _kind(value: Any) -> str:
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        return "JSON text"
    return kind_of(value).removeprefix("a ").removeprefix("an ")


def _example(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= EXAMPLE else f"{text[: EXAMPLE - 1]}…"
