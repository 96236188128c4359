"""The first rows of a file, and its columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
from pipelines.operations.inspect.printable import printable

MOST_ROWS = 5_000
MOST_COLUMNS = 200  # the most filled; some logs have other keys in each row
MOST_KEYS = 1_000  # of one row
DEPTH = 3  # of objects inside objects
EXAMPLE = 48  # characters


@dataclass
class _Seen:
    """What one column held so far."""

    filled: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    first: Any = None

    def note(self, value: Any) -> None:
        self.first = value if not self.filled else self.first
        self.filled += 1
        self.kinds[_kind(value)] += 1


def look_at(file: Path, encoding: str) -> tuple[LookedAt, list[Raw]]:
    """What a file is, and its first rows. Raises InputError for what is no log."""
    form = form_of(file, file.name)
    rows = list(islice(rows_of_file(file, file.name, CSV_NULLS, encoding), MOST_ROWS + 1))
    is_whole, rows = len(rows) <= MOST_ROWS, rows[:MOST_ROWS]
    if not rows:
        raise InputError(f"{printable(str(file))} holds no rows.", "Pass a file with at least one.")
    columns, more = _columns(rows)
    looked_at = LookedAt(
        file=str(file),
        kind=form.kind,
        size_bytes=file.stat().st_size,
        packing=form.packing,
        encoding=encoding if encoding and form.encoding == "utf-8" else form.encoding,
        separator=_separator(file, encoding) if form.kind == "CSV" else None,
        rows=len(rows),
        is_whole=is_whole,
        unreadable=dict(Counter(raw.problem for raw in rows if raw.problem)),
        columns=columns,
        more_columns=more,
    )
    return looked_at, rows


def _separator(file: Path, encoding: str) -> str:
    with unpacked(file, file.name) as data:
        return separator_of(as_text(data, encoding).readline(1 << 20))


def _columns(rows: list[Raw]) -> tuple[list[FoundColumn], int]:
    """The columns, also those inside objects and named scores, and how many more there are."""
    filled = Counter[str]()
    for raw in rows:
        for name, value in _flat_row(raw):
            filled[name] += not is_missing(value)
    most = {name for name, _ in filled.most_common(MOST_COLUMNS)}
    seen = {name: _Seen() for name in filled if name in most}
    for raw in rows:
        for name, value in _flat_row(raw):
            if name in most and not is_missing(value):
                seen[name].note(value)
    return [_column(name, one, len(rows)) for name, one in seen.items()], len(filled) - len(seen)


def _flat_row(raw: Raw) -> Iterator[tuple[str, Any]]:
    return islice(flat(raw.values or {}), MOST_KEYS)


def flat(row: Mapping[str, Any], before: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Dotted names and values, as `[ingest.columns]` names them."""
    for key, value in row.items():
        name = f"{before}{key}"
        yield name, value
        if isinstance(value, Mapping) and depth < DEPTH:
            yield from flat(value, f"{name}.", depth + 1)
        elif isinstance(value, list):
            named = (one for one in value if isinstance(one, Mapping) and isinstance(one.get("name"), str))
            yield from ((f"{name}.{one['name']}.value", one["value"]) for one in named if "value" in one)


def _column(name: str, seen: _Seen, rows: int) -> FoundColumn:
    kind = " or ".join(kind for kind, _ in seen.kinds.most_common(3)) or "empty"
    return FoundColumn(
        name, kind, round(seen.filled / rows, 4), example_of(seen.first) if seen.filled else ""
    )


def _kind(value: Any) -> str:
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        return "JSON text"
    return kind_of(value).removeprefix("a ").removeprefix("an ")


def example_of(value: Any) -> str:
    """A value in one short line."""
    text = (
        value[: 8 * EXAMPLE] if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    )
    text = " ".join(text.split())
    return text if len(text) <= EXAMPLE else f"{text[: EXAMPLE - 1]}…"
