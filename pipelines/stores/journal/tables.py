"""The journal's tables in SQLite and in PostgreSQL, and what one row holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.core.traffic_split import Adapter
from pipelines.stores.sql.database import TEXT, storable
from pipelines.stores.sql.migrations import Migrations

BASE = "base"  # name and digest of the bare base model in a row
ERRORS = ("engine", "timeout", "circuit open")  # faults that count against the adapter
SHIPPING = 7_316_001  # number of PostgreSQL's lock: one gateway at a time adds to the journal


class Moment(sa.types.TypeDecorator[datetime]):
    """A time: ISO text in UTC in SQLite, where texts sort as times do; timestamptz in PostgreSQL."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        is_text = dialect.name == "sqlite"
        return dialect.type_descriptor(sa.Text() if is_text else sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        return timestamp(value) if value and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        return datetime.fromisoformat(value) if isinstance(value, str) else value


META = sa.MetaData()
MIGRATIONS = Migrations("journal", head="0001")  # of PostgreSQL; SQLite's tables are in `file`


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


INTERACTIONS = sa.Table(
    "interactions",
    META,
    sa.Column("rowid", sa.BigInteger, sa.Identity(), nullable=False),  # order of writing; SQLite has its own
    sa.Column("request_id", TEXT, primary_key=True),
    sa.Column("parent", TEXT),
    sa.Column("ts", Moment, nullable=False, index=True),
    *(
        sa.Column(name, TEXT, nullable=False)
        for name in (
            *("tenant", "subject_id", "messages", "completion"),
            *("adapter", "digest", "route", "locale", "channel"),
        )
    ),
    _count("tokens_in"),
    _count("tokens_out"),
    sa.Column("latency_ms", sa.Double, nullable=False),
    sa.Column("first_token_ms", sa.Double),
    sa.Column("opt_out", sa.Boolean, nullable=False),
    sa.Column("fault", TEXT, nullable=False),
    *(sa.Column(name, sa.Boolean, nullable=False) for name in ("refused", "cached", "fallback")),
)
FEEDBACK = sa.Table(
    "feedback",
    META,
    sa.Column("seq", sa.BigInteger, sa.Identity(), primary_key=True),  # order of arrival
    sa.Column("at", Moment, nullable=False),
    sa.Column("request_id", TEXT, nullable=False, index=True),
    sa.Column("rating", sa.BigInteger),
    sa.Column("correction", TEXT),
)
DELIVERED = sa.Table(
    "delivered",
    META,
    sa.Column("night", sa.Date, primary_key=True),
    sa.Column("request_id", TEXT, primary_key=True, index=True),
    _count("feedback_seq"),
)
# Copies of users' requests for a shadow. `source` is the spool that they came through, "" without one.
SHADOW_COPIES = sa.Table(
    "shadow_copies",
    META,
    sa.Column("source", TEXT, primary_key=True),
    sa.Column("promotion", sa.BigInteger, primary_key=True, autoincrement=False),
    *(_count(name) for name in ("offered", "answered", "failed", "dropped")),
)
# Up to where each gateway's spool has arrived. In PostgreSQL only, as is the next table.
SPOOLS = sa.Table(
    "spools",
    META,
    sa.Column("id", TEXT, primary_key=True),
    _count("shipped"),
)
# Feedback whose answer has not arrived: it lies in another gateway's spool, or was lost.
FEEDBACK_WAITING = sa.Table(
    "feedback_waiting",
    META,
    sa.Column("seq", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("request_id", TEXT, nullable=False, index=True),
    sa.Column("tenant", TEXT, nullable=False),
    sa.Column("rating", sa.BigInteger),
    sa.Column("correction", TEXT),
)


# What the role of the gateways and steps may do on PostgreSQL, where another role owns the tables.
_FORGET, _COUNT = ("SELECT", "INSERT", "DELETE"), ("SELECT", "INSERT", "UPDATE")
RIGHTS = {
    **{table.name: _FORGET for table in (INTERACTIONS, FEEDBACK, DELIVERED, FEEDBACK_WAITING)},
    **{table.name: _COUNT for table in (SHADOW_COPIES, SPOOLS)},
    MIGRATIONS.version_table: ("SELECT",),
}


@dataclass(frozen=True)
class Interaction:
    """One answer, or one attempt that failed (`fault`): a row of the table `interactions`."""

    request_id: str
    ts: datetime
    tenant: str
    subject_id: str
    messages: Sequence[Mapping[str, str]]
    completion: str
    adapter: str  # the version, or BASE
    digest: str
    route: str
    locale: str
    channel: str
    tokens_in: int
    tokens_out: int
    latency_ms: float
    first_token_ms: float | None
    opt_out: bool
    parent: str | None = None  # the user's request, for a shadow's answer or a failed attempt
    fault: str = ""  # one of ERRORS; "full": too much to do; "aborted": the client went away
    refused: bool = False  # the model declined to answer
    cached: bool = False
    fallback: bool = False  # this adapter answered because another one failed

    def values(self) -> list[Any]:
        """The row as SQLite stores it, in the order of COLUMNS."""
        plain = {name: getattr(self, name) for name in COLUMNS}
        plain["ts"] = timestamp(self.ts)
        plain["messages"] = json.dumps([dict(m) for m in self.messages], ensure_ascii=False)
        return [storable(value) for value in plain.values()]


COLUMNS = tuple(field.name for field in fields(Interaction))


def journal_path(home: str | Path) -> Path:
    """The file of a home's journal in SQLite."""
    return Path(home) / "gateway" / "journal.db"


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, always with microseconds, so that the texts sort as the times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def midnight(day: date, zone: tzinfo = UTC) -> datetime:
    """The first instant of a day in a zone."""
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def name_and_digest(adapter: Adapter | None) -> tuple[str, str]:
    """The columns `adapter` and `digest` of an adapter's rows; None is the bare base model."""
    return (adapter.version, adapter.digest) if adapter else (BASE, BASE)
