"""The interaction log: one row for each answer that the deployed model gave. Columns, types, words."""

from __future__ import annotations

import pyarrow as pa

MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))
ROUTES = ("production", "canary", "shadow")
ROLES = ("system", "user", "assistant", "tool")
RATINGS = (-1, 0, 1)


def _column(name: str, kind: pa.DataType, words: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"words": words})


INTERACTION = pa.schema(
    [
        _column("request_id", pa.string(), "unique name of the request"),
        _column("ts", pa.timestamp("us", tz="UTC"), "when the answer was given; without a zone it is UTC"),
        _column("tenant", pa.string(), "the customer whose user asked"),
        _column("subject_id", pa.string(), "the person who asked, as a pseudonym"),
        _column("messages", MESSAGES, "the conversation up to the answer: role and content"),
        _column("completion", pa.string(), "the model's answer"),
        _column("adapter", pa.string(), "which adapter answered; 'base' for none"),
        _column("route", pa.string(), "production, canary or shadow"),
        _column("rating", pa.int8(), "the user's verdict: -1, 0 or 1", nullable=True),
        _column("correction", pa.string(), "the answer that the user wanted", nullable=True),
        _column("locale", pa.string(), "BCP 47 language tag, such as en-GB"),
        _column("channel", pa.string(), "where the user was: web, mobile, api ..."),
        _column("tokens_in", pa.int32(), "tokens of the prompt"),
        _column("tokens_out", pa.int32(), "tokens of the completion"),
        _column("latency_ms", pa.float64(), "milliseconds from request to answer"),
        _column("opt_out", pa.bool_(), "true: the person wants no learning from this row"),
    ]
)

COLUMNS: tuple[str, ...] = tuple(INTERACTION.names)
# A delivery may leave out a nullable column; every other one it must have.
REQUIRED: tuple[str, ...] = tuple(field.name for field in INTERACTION if not field.nullable)
TEXT_COLUMNS: tuple[str, ...] = tuple(f.name for f in INTERACTION if pa.types.is_string(f.type))


def words() -> dict[str, str]:
    """What each column means, in words."""
    return {field.name: field.metadata[b"words"].decode() for field in INTERACTION}


# Field metadata makes equal tables look different to pyarrow; tables carry the plain schema.
SCHEMA = pa.schema([field.remove_metadata() for field in INTERACTION])
