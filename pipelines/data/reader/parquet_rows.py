"""Rows of Parquet as Python values. A value that Python cannot hold costs its row and not the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.errors import InputError
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.text import NOT_UTF8, is_sound, mended

BATCH_ROWS = 1_000
UNREADABLE = (ValueError, OverflowError, KeyError, pa.ArrowException)


def parquet_rows(file: Path, name: str) -> Iterator[Raw]:
    """Every row. Raises InputError for a file that is not Parquet, or whose pages are damaged."""
    try:
        with pq.ParquetFile(file) as parquet:
            _refuse_twins(parquet.schema_arrow.names, name)
            for batch in parquet.iter_batches(BATCH_ROWS):
                yield from _rows(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name} is not a readable Parquet file ({str(error).splitlines()[0]}).",
            "Deliver the file again.",
        ) from error


def _refuse_twins(names: list[str], name: str) -> None:
    twins = sorted({key for key in names if names.count(key) > 1})
    if twins:
        raise InputError(f"{name} has the column {twins[0]} twice.", "Rename or remove one of them.")


def _rows(batch: pa.RecordBatch) -> Iterator[Raw]:
    """The rows of a batch: all at once, or one by one where one of them cannot be read."""
    schema = pa.schema([pa.field(f.name, _readable(f.type)) for f in batch.schema])
    try:
        rows = _as_rows(pa.Table.from_batches([batch]).cast(schema, safe=False))
    except UNREADABLE:
        yield from (_row(batch.slice(place, 1)) for place in range(batch.num_rows))
        return
    yield from (Raw(values) for values in rows)


def _row(one: pa.RecordBatch) -> Raw:
    """A single row: texts that are not UTF-8 are mended, and so the row says."""
    schema = pa.schema([pa.field(f.name, _as_bytes(_readable(f.type))) for f in one.schema])
    try:
        (values,) = _as_rows(pa.Table.from_batches([one]).cast(schema, safe=False))
    except UNREADABLE as error:
        return Raw(None, "a value that cannot be read", type(error).__name__)
    decoded = _decoded(values)
    return Raw(decoded) if _all_sound(decoded) else Raw(mended(decoded), NOT_UTF8)


def _readable(kind: pa.DataType) -> pa.DataType:
    """The type with times that Python's datetime holds: microseconds, and UTC for a zone of any name."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.large_string()  # some writers mark no text as such
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_readable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _readable(field.type)) for field in kind])
    return kind


def _as_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows; a map with a key twice cannot be read."""
    columns = [[value for chunk in column.chunks for value in _values(chunk)] for column in table.columns]
    return _dicts(table.column_names, columns, table.num_rows)


def _values(array: pa.Array) -> list[Any]:
    """The values. Texts go by numpy, lists and structs by their parts: pyarrow alone is much slower."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return list(array.to_numpy(zero_copy_only=False))
    if pa.types.is_list(kind):
        inner = iter(_values(array.flatten()))
        return [
            None if size is None else [*islice(inner, size)] for size in array.value_lengths().to_pylist()
        ]
    if pa.types.is_struct(kind) and kind.num_fields:
        found = _dicts([field.name for field in kind], map(_values, array.flatten()), len(array))
        return [
            one if valid else None for one, valid in zip(found, array.is_valid().to_pylist(), strict=True)
        ]
    return list(array.to_pylist(maps_as_pydicts="strict"))


def _dicts(names: Sequence[str], columns: Iterable[list[Any]], count: int) -> list[dict[str, Any]]:
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return rows if names else [{} for _ in range(count)]


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The same type with bytes where it has text, which Arrow does not decode."""
    if pa.types.is_dictionary(kind):
        return _as_bytes(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_as_bytes(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _as_bytes(field.type)) for field in kind])
    return kind


def _decoded(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case list():
            return [_decoded(one) for one in value]
        case dict():
            return {key: _decoded(one) for key, one in value.items()}
    return value


def _all_sound(value: Any) -> bool:
    match value:
        case str():
            return is_sound(value)
        case list():
            return all(map(_all_sound, value))
        case dict():
            return all(map(_all_sound, value.values()))
    return True
