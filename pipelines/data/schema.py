"""The interaction log as a pyarrow schema."""

from __future__ import annotations

import pyarrow as pa

from pipelines.core.interactions import INTERACTION, Kind

MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))
TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
    "messages": MESSAGES,
    "int8": pa.int8(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}
SCHEMA = pa.schema([pa.field(column.name, TYPES[column.kind], column.nullable) for column in INTERACTION])
