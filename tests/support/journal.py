"""The gateway's journal as tests and benchmarks look at it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.stores.journal.reader import JournalReader, with_newest_feedback
from pipelines.stores.journal.tables import COLUMNS, ERRORS, FEEDBACK, INTERACTIONS, Interaction, journal_path
from pipelines.stores.journal.writer import JournalWriter
from pipelines.stores.sql import database

EVER = datetime(2026, 1, 1, tzinfo=UTC)


def make_interaction(request_id: str, ts: datetime, **changes: Any) -> Interaction:
    """An answer as the gateway writes it down, with what the test changes."""
    usual: dict[str, Any] = {
        "tenant": "north-clinic",
        "subject_id": "p-1",
        "messages": [{"role": "user", "content": f"what about {request_id}?"}],
        "completion": "Dental",
        "adapter": "base",
        "digest": "base",
        "route": "production",
        "locale": "en-GB",
        "channel": "web",
        "tokens_in": 12,
        "tokens_out": 2,
        "latency_ms": 20.0,
        "first_token_ms": 5.0,
        "opt_out": False,
    }
    return Interaction(request_id=request_id, ts=ts, **(usual | changes))


def reader_of(home: str | Path) -> JournalReader:
    """The journal of a home, in SQLite."""
    return JournalReader(f"sqlite:///{journal_path(home)}")


def journal_rows(home: str | Path, since: datetime = EVER) -> list[dict[str, Any]]:
    """Rows of the home's SQLite with their newest feedback since a moment, in order of time; [] without one.

    The columns but for the conversation, `rating`, `correction`, and `error`: whether the adapter failed.
    """
    return rows_at(f"sqlite:///{journal_path(home)}", since)


def rows_at(url: str, since: datetime = EVER) -> list[dict[str, Any]]:
    """`journal_rows` of a journal in either database."""
    if not database.exists(url):
        return []
    names = [name for name in COLUMNS if name != "messages"]
    query = with_newest_feedback(
        *(INTERACTIONS.c[name] for name in names), FEEDBACK.c.rating, FEEDBACK.c.correction
    )
    query = query.where(INTERACTIONS.c.ts >= since).order_by(INTERACTIONS.c.ts, INTERACTIONS.c.request_id)
    engine = database.connect_to(url, read_only=True)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("interactions"):
                return []
            return [{**row, "error": row["fault"] in ERRORS} for row in connection.execute(query).mappings()]
    finally:
        engine.dispose()


def has_arrived(journal: JournalWriter) -> None:
    """Wait until the journal's database has all that was written so far."""
    journal.feedback("a-mark", "nobody", 1, None).result(10)  # the writer keeps the order
    if journal.shipper:
        end = time.monotonic() + 20
        while journal.shipper.backlog()[0]:
            assert time.monotonic() < end, journal.shipper.problem
            time.sleep(0.005)
