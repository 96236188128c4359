"""The gateway's journal as tests and benchmarks look at it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.stores.journal.reader import WITH_NEWEST_FEEDBACK
from pipelines.stores.journal.tables import ERRORS, Interaction, connect_read_only, journal_path, timestamp

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


def journal_rows(home: str | Path, since: datetime = EVER) -> list[dict[str, Any]]:
    """Rows with their newest feedback since a moment, in order of time; [] without a journal.

    The columns but for the conversation, `rating`, `correction`, and `error`: whether the adapter failed.
    """
    path = journal_path(home)
    if not path.exists():
        return []
    query = f"{WITH_NEWEST_FEEDBACK} WHERE i.ts >= ? ORDER BY i.ts, i.request_id"
    with closing(connect_read_only(path)) as connection:
        return [_parsed(row) for row in connection.execute(query, (timestamp(since),))]


def _parsed(row: sqlite3.Row) -> dict[str, Any]:
    plain = dict(row)
    del plain["messages"]
    flags = {name: bool(plain[name]) for name in ("opt_out", "refused", "cached", "fallback")}
    return plain | flags | {"ts": datetime.fromisoformat(plain["ts"]), "error": plain["fault"] in ERRORS}
