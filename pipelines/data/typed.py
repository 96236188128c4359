"""Delivered files as one Parquet file of typed rows, in bounded memory. DuckDB reads on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.data.reader.consent import spoken_in
from pipelines.data.reader.raw import Raw
from pipelines.data.row_reader import Row
from pipelines.data.schema import SCHEMA

BATCH_ROWS = 8_192
BATCH_BYTES = 1 << 24
MOST_KEYS = 1_000  # column names remembered of one file
PLACE = [("file_no", pa.int32()), ("row_no", pa.int64())]
VERDICT = [
    ("content_key", pa.string()),
    ("fault", pa.string()),
    ("found", pa.string()),
    ("raw", pa.string()),
    ("is_chat", pa.bool_()),
    ("is_clear", pa.bool_()),
]
TYPED = pa.schema([*PLACE, *((f.name, f.type) for f in SCHEMA), *VERDICT])


@dataclass
class Seen:
    """What one file held: its rows, and the names that they use."""

    name: str
    rows: int = 0
    columns: dict[str, None] = field(default_factory=dict)  # in the order of their appearance
    spoken: dict[str, str] = field(default_factory=dict)  # dotted name -> opt_out, opt_in, consent or system

    @property
    def consents(self) -> list[str]:
        """The names that speak of consent."""
        return [path for path, meant in self.spoken.items() if meant != "system"]

    @property
    def systems(self) -> list[str]:
        """The names of system prompts."""
        return [path for path, meant in self.spoken.items() if meant == "system"]

    def note(self, raw: Raw) -> None:
        self.rows += 1
        if not raw.values or raw.problem:
            return
        if len(self.columns) < MOST_KEYS:
            self.columns.update(dict.fromkeys(raw.values))
        if len(self.spoken) < MOST_KEYS:
            self.spoken.update(spoken_in(raw.values))


def write_typed(
    target: Path, files: Sequence[tuple[str, Iterable[Raw]]], read: Callable[[Raw], Row]
) -> list[Seen]:
    """Read (name, rows) of every file into `target`. Row numbers count from 1."""
    seen = [Seen(name) for name, _ in files]
    with pq.ParquetWriter(target, TYPED, compression="zstd", compression_level=1) as writer:
        for batch in _batches(files, seen, read):
            writer.write_batch(batch)
    return seen


def _batches(
    files: Sequence[tuple[str, Iterable[Raw]]], seen: list[Seen], read: Callable[[Raw], Row]
) -> Iterator[pa.RecordBatch]:
    waiting: list[tuple[int, int, Row]] = []
    held = 0
    for file_no, (_, rows) in enumerate(files):
        for raw in rows:
            seen[file_no].note(raw)
            row = read(raw)
            waiting.append((file_no, seen[file_no].rows, row))
            held += row.size
            if len(waiting) == BATCH_ROWS or held > BATCH_BYTES:
                yield _batch(waiting)
                waiting, held = [], 0
    yield _batch(waiting)


def _batch(rows: list[tuple[int, int, Row]]) -> pa.RecordBatch:
    columns: dict[str, list[object]] = {
        "file_no": [file_no for file_no, _, _ in rows],
        "row_no": [row_no for _, row_no, _ in rows],
        **{name: [row.cells.get(name) for _, _, row in rows] for name in SCHEMA.names},
        **{name: [getattr(row, name) for _, _, row in rows] for name, _ in VERDICT},
    }
    arrays = [pa.array(columns[f.name], f.type) for f in TYPED]
    return pa.RecordBatch.from_arrays(arrays, schema=TYPED)
