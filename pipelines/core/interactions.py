"""The interaction log: one row for each answer that the deployed model gave. Columns, types, values."""

from __future__ import annotations

from typing import Literal, NamedTuple

ROUTES = ("production", "canary", "shadow")
ROLES = ("system", "user", "assistant", "tool")
RATINGS = (-1, 0, 1)

Kind = Literal["text", "time", "messages", "int8", "int32", "float64", "bool"]


class Column(NamedTuple):
    """A nullable column may be left out of a delivery; every other one is required in each row."""

    name: str
    kind: Kind
    meaning: str
    nullable: bool = False


INTERACTION = (
    Column("request_id", "text", "unique name of the request"),
    Column("ts", "time", "when the answer was given; without a zone it is UTC"),
    Column("tenant", "text", "the customer whose user asked"),
    Column("subject_id", "text", "the person who asked, as a pseudonym"),
    Column("messages", "messages", "the conversation up to the answer: role and content"),
    Column("completion", "text", "the model's answer"),
    Column("adapter", "text", "which adapter answered; 'base' for none"),
    Column("route", "text", "production, canary or shadow"),
    Column("rating", "int8", "the user's rating: -1, 0 or 1", nullable=True),
    Column("correction", "text", "the answer that the user wanted", nullable=True),
    Column("locale", "text", "BCP 47 language tag, such as en-GB"),
    Column("channel", "text", "where the user was: web, mobile, api ..."),
    Column("tokens_in", "int32", "tokens of the prompt"),
    Column("tokens_out", "int32", "tokens of the completion"),
    Column("latency_ms", "float64", "milliseconds from request to answer"),
    Column("opt_out", "bool", "true: the person wants no learning from this row"),
)
COLUMNS = tuple(column.name for column in INTERACTION)
REQUIRED = tuple(column.name for column in INTERACTION if not column.nullable)
TEXT_COLUMNS = tuple(column.name for column in INTERACTION if column.kind == "text")
