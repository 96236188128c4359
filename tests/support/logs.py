"""Logs in every form that ingest reads, for tests: the same rows as JSON, CSV and Parquet, packed or not."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipelines.core.config import load_config
from pipelines.data.reader.files import rows_of_file
from pipelines.data.row_reader import Row, RowReader

DEMO = Path(__file__).parents[2] / "config" / "demo.toml"
NIGHT = date(2026, 1, 3)
Rows = Sequence[dict[str, Any]]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in rows).encode()


def as_array(rows: Rows) -> bytes:
    return json.dumps(list(rows), default=str, indent=1).encode()


def as_csv(rows: Rows, separator: str = ",", encoding: str = "utf-8") -> bytes:
    """Texts in quotes, numbers and times as they are, nothing for null."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [separator.join(names), *(separator.join(_cell(row.get(name)) for name in names) for row in rows)]
    return "".join(f"{line}\r\n" for line in lines).encode(encoding)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case list() | dict():
            return _quoted(json.dumps(value, ensure_ascii=False))
        case str():
            return _quoted(value)
    return str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def write_parquet(path: Path, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def read(path: Path, night: date = NIGHT, **settings: Any) -> tuple[list[Row], RowReader]:
    """The rows of one file under `[ingest]` settings, as `ingest` reads them before it looks for copies."""
    config = load_config(DEMO, path.parent, {f"ingest.{name}": value for name, value in settings.items()})
    reader = RowReader(config, night)
    rows = rows_of_file(path, path.name, config.ingest.csv_nulls, config.ingest.encoding)
    return [reader.read(raw) for raw in rows], reader


def at(hour: int, day: int = 3) -> datetime:
    return datetime.fromisoformat(f"2026-01-{day:02d}T{hour:02d}:00:00+00:00")
