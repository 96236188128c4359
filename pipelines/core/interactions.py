"""The interaction log: one row for each answer that the deployed model gave. Columns, types, values."""

from __future__ import annotations

from typing import Literal, NamedTuple

ROUTES = ("production", "canary", "shadow")
ROLES = ("system", "user", "assistant", "tool")
RATINGS = (-1, 0, 1)

Kind = Literal["id", "text", "time", "messages", "tools", "rating", "int32", "float64", "bool"]


class Column(NamedTuple):
    """`default` says in words what stands where a delivery has no value; a required column has none."""

    name: str
    kind: Kind
    meaning: str
    default: str = ""
    nullable: bool = False


INTERACTION = (
    Column("request_id", "id", "unique name of the request", "a digest of the row's content"),
    Column(
        "ts", "time", "when the answer was given; without a zone, in ingest.timezone", "noon of the night"
    ),
    Column("tenant", "id", "the customer whose user asked", "default"),
    Column("subject_id", "id", "the person who asked, as a pseudonym", "conversation_id, else request_id"),
    Column("messages", "messages", "the conversation up to the answer"),
    Column("completion", "text", "the model's answer"),
    Column("adapter", "id", "which adapter answered; 'base' for none", "unknown"),
    Column("route", "id", "production, canary or shadow", "production"),
    Column("rating", "rating", "the user's rating: -1, 0 or 1", "no rating", nullable=True),
    Column("correction", "text", "the answer that the user wanted", "no correction", nullable=True),
    Column("locale", "id", "BCP 47 language tag, such as en-GB", "und"),
    Column("channel", "id", "where the user was: web, mobile, api ...", "unknown"),
    Column("tokens_in", "int32", "tokens of the prompt", "not known", nullable=True),
    Column("tokens_out", "int32", "tokens of the completion", "not known", nullable=True),
    Column("latency_ms", "float64", "milliseconds from request to answer", "not known", nullable=True),
    Column("opt_out", "bool", "true: the person wants no learning from this row", "false"),
    Column(
        "conversation_id", "id", "the conversation that the request belongs to", "not known", nullable=True
    ),
    Column("feedback_ts", "time", "when the feedback was given", "not known", nullable=True),
    Column("tools", "tools", "the tools that were offered, as JSON", "none", nullable=True),
)
COLUMNS = tuple(column.name for column in INTERACTION)
REQUIRED = tuple(column.name for column in INTERACTION if not column.default)
CONSTANTS = ("tenant", "adapter", "route", "locale", "channel")  # their defaults are the words themselves
DEFAULTS = {column.name: column.default for column in INTERACTION if column.name in CONSTANTS}
FEEDBACK_COLUMNS = ("request_id", "rating", "correction", "feedback_ts")  # of a separate file of feedback
CONSENT = ("opt_out", "opt_in")  # opt_in says the opposite, for logs that have it so
READ_BESIDES = ("prompt", "system", "opt_in")  # no columns of the lake: a row's other ways to say its content
