"""The journal's tables, what one row holds, and how the file is opened."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any

from pipelines.core.traffic_split import Adapter

BASE = "base"  # name and digest of the bare base model in a row
ERRORS = ("engine", "timeout", "circuit open")  # faults that count against the adapter
SETUP = """
    CREATE TABLE IF NOT EXISTS interactions (
        request_id TEXT PRIMARY KEY, parent TEXT, ts TEXT NOT NULL, tenant TEXT NOT NULL,
        subject_id TEXT NOT NULL, messages TEXT NOT NULL, completion TEXT NOT NULL, adapter TEXT NOT NULL,
        digest TEXT NOT NULL, route TEXT NOT NULL, locale TEXT NOT NULL, channel TEXT NOT NULL,
        tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, latency_ms REAL NOT NULL,
        first_token_ms REAL, opt_out INTEGER NOT NULL, fault TEXT NOT NULL, refused INTEGER NOT NULL,
        cached INTEGER NOT NULL, fallback INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS interactions_ts ON interactions (ts);
    CREATE TABLE IF NOT EXISTS feedback (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, request_id TEXT NOT NULL,
        rating INTEGER, correction TEXT);
    CREATE INDEX IF NOT EXISTS feedback_request ON feedback (request_id);
    CREATE TABLE IF NOT EXISTS delivered (
        night TEXT NOT NULL, request_id TEXT NOT NULL, feedback_seq INTEGER NOT NULL,
        PRIMARY KEY (night, request_id));
    CREATE INDEX IF NOT EXISTS delivered_request ON delivered (request_id);
"""


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


def storable(value: Any) -> Any:
    """A value as SQLite takes it: half a character becomes "?", a whole number fits into 64 bits."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, int):
        return max(-(2**63), min(value, 2**63 - 1))
    return value


def journal_path(home: str | Path) -> Path:
    """The journal's file in a home."""
    return Path(home) / "gateway" / "journal.db"


def connect(path: Path) -> sqlite3.Connection:
    """Open a journal for writing; the file is created if needed. A commit returns once it is on disk."""
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(SETUP)
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open an existing journal for reading. Raises sqlite3.OperationalError if there is none."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=5.0, uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, always with microseconds, so that the texts sort as the times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def midnight(day: date, zone: tzinfo = UTC) -> str:
    """The first instant of a day in a zone, as the journal writes times."""
    return timestamp(datetime(day.year, day.month, day.day, tzinfo=zone))


def name_and_digest(adapter: Adapter | None) -> tuple[str, str]:
    """The columns `adapter` and `digest` of an adapter's rows; None is the bare base model."""
    return (adapter.version, adapter.digest) if adapter else (BASE, BASE)
