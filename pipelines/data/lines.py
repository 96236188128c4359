"""Delivered files as a Parquet file of lines: row number, JSON text, problem.

A bad row then costs that row and not the file. Bytes that are not UTF-8 are replaced, and the row says so.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.errors import InputError

MAX_LINE_BYTES = 1 << 25  # a longer line is skipped; a prompt of ten megabytes is still read
ROW_TEXTS = 16  # a row longer than this many of the longest text is cut
BATCH_LINES = 10_000
BATCH_CHARACTERS = 1 << 24
LINES = pa.schema([("row_no", pa.int64()), ("line", pa.string()), ("problem", pa.string())])
NOT_UTF8 = "not UTF-8"
Line = tuple[str, str | None]  # JSON text, problem


def write_lines(file: Path, target: Path, max_text_bytes: int) -> None:
    """Read JSONL, CSV or Parquet row by row into `target`. Texts over the limit are cut just above it.

    Raises InputError for a CSV whose quotes do not match.
    """
    readers = {".jsonl": _json_lines, ".ndjson": _json_lines, ".csv": _csv_lines, ".parquet": _parquet_lines}
    rows: list[tuple[int, str, str | None]] = []
    held = 0
    with pq.ParquetWriter(target, LINES, compression="zstd") as writer:
        for row_no, (line, problem) in enumerate(readers[file.suffix.lower()](file)):
            if len(line) > ROW_TEXTS * max_text_bytes:
                line, problem = _cut(line, problem, max_text_bytes)
            rows.append((row_no, line, problem))
            held += len(line)
            if len(rows) == BATCH_LINES or held > BATCH_CHARACTERS:
                writer.write_table(_lines_table(rows))
                rows, held = [], 0
        writer.write_table(_lines_table(rows))


def _cut(line: str, problem: str | None, max_text_bytes: int) -> Line:
    """A row that is too long: DuckDB would need many times its memory, and only its length matters."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return "", problem
    short = json.dumps(_shortened(row, max_text_bytes + 1), ensure_ascii=False)
    if len(short) <= ROW_TEXTS * max_text_bytes:
        return short, problem
    kept = {key: row.get(key) for key in ("request_id", "opt_out")} if isinstance(row, dict) else None
    return json.dumps(_shortened(kept, max_text_bytes)), problem or "the row as a whole is too long"


def _shortened(value: Any, characters: int) -> Any:
    match value:
        case str():
            return value[:characters]
        case list():
            return [_shortened(one, characters) for one in value]
        case dict():
            return {key: _shortened(one, characters) for key, one in value.items()}
    return value


def has_broken_text(file: Path) -> bool:
    """Whether any text is not UTF-8, which DuckDB overlooks or refuses the whole file for."""
    try:
        parquet = pq.ParquetFile(file)
        names = [field.name for field in parquet.schema_arrow if _holds_text(field.type)]
        for batch in parquet.iter_batches(BATCH_LINES, columns=names):
            for column in batch.columns:
                try:
                    column.validate(full=True)
                except pa.ArrowInvalid:
                    return True
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{file.name} is not a readable Parquet file ({error}).", "Deliver the file again."
        ) from error
    return False


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind) and not pa.types.is_dictionary(kind):
        return any(_holds_text(kind.field(i).type) for i in range(kind.num_fields))
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The same type with bytes where it had text."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_as_bytes(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, _as_bytes(f.type)) for f in kind])
    return kind


def _parquet_lines(file: Path) -> Iterator[Line]:
    parquet = pq.ParquetFile(file)
    schema = pa.schema([(f.name, _as_bytes(f.type)) for f in parquet.schema_arrow])
    for batch in parquet.iter_batches(BATCH_LINES):
        for row in pa.Table.from_batches([batch]).cast(schema).to_pylist():
            text = json.dumps(row, default=_plain, ensure_ascii=False)
            yield _mended(text)


def _plain(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _mended(text: str) -> Line:
    """Bytes that were not UTF-8 arrive as lone surrogates: replace them and name the problem."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), NOT_UTF8
    return text, None


def _json_lines(file: Path) -> Iterator[Line]:
    with file.open("rb") as lines:
        while line := lines.readline(MAX_LINE_BYTES):
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                while (rest := lines.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
                yield "", f"a line of more than {MAX_LINE_BYTES >> 20} MiB"
            elif line.strip():
                yield _mended(line.decode("utf-8", "surrogateescape").rstrip("\r\n"))


def _csv_lines(file: Path) -> Iterator[Line]:
    """Each record as a JSON object of texts. An empty cell is null: CSV does not tell the two apart."""
    csv.field_size_limit(MAX_LINE_BYTES)
    with file.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text)
        header = next(reader, [])
        try:
            for record in reader:
                row = {name: cell or None for name, cell in zip(header, record, strict=False)}
                line, problem = _mended(json.dumps(row, ensure_ascii=False))
                if len(record) != len(header):
                    problem = problem or "another number of cells than the header"
                yield line, problem
        except csv.Error as error:
            raise InputError(
                f"{file.name} cannot be read as CSV near line {reader.line_num} ({error}).",
                "Look there for a quote that is not closed.",
            ) from error


def _lines_table(rows: list[tuple[int, str, str | None]]) -> pa.Table:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    return pa.Table.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, LINES, strict=True)], schema=LINES
    )
