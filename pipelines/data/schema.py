"""The interaction log as a pyarrow schema, and its rows as plain dictionaries."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipelines.core.interactions import FEEDBACK_COLUMNS, INTERACTION, Kind

TURN = ("role", "content", "name", "tool_call_id", "tool_calls")  # tool_calls is JSON
MESSAGES = pa.list_(pa.struct([pa.field(name, pa.string()) for name in TURN]))
TIME = pa.timestamp("us", tz="UTC")
TYPES: dict[Kind, pa.DataType] = {
    "id": pa.string(),
    "text": pa.string(),
    "time": TIME,
    "messages": MESSAGES,
    "tools": pa.string(),
    "rating": pa.int8(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}
SCHEMA = pa.schema([pa.field(column.name, TYPES[column.kind], column.nullable) for column in INTERACTION])
FEEDBACK = pa.schema([pa.field(name, SCHEMA.field(name).type) for name in FEEDBACK_COLUMNS])


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table of interactions. Turns have only the keys that have a value."""
    rows = table.to_pylist()
    for row in rows:
        if row.get("messages") is not None:
            row["messages"] = [_plain(turn) for turn in row["messages"]]
    return rows


def _plain(turn: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in turn.items() if value is not None}
