"""A night's delivery from the journal: the day's answers with their feedback, as `ingest` reads them.

An answer is delivered in the night of its day. Answers that arrive late, and answers whose feedback changed
after their delivery, are delivered again in a later night, as long as `ingest.late_days` admits them. The
choice is recorded before the file is written, so a repeated delivery writes the same file.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.files import replacing
from pipelines.core.interactions import COLUMNS
from pipelines.data.lake import write_parquet
from pipelines.data.schema import SCHEMA
from pipelines.stores.journal import deliveries
from pipelines.stores.journal.tables import connect, journal_path

log = logging.getLogger("nightshift")


def deliver(config: Config, night: date) -> Path:
    """Write the night's delivery, unless there is one, and return its path.

    Afterwards the journal forgets answers older than `gateway.journal_days`. Raises InputError if no gateway
    has ever run in this home.
    """
    target = deliveries.delivery_path(config.home, night)
    if target.exists():
        return target
    path = journal_path(config.home)
    if not path.exists():
        raise InputError(
            f"The gateway's journal {path} does not exist.", "Start the gateway once: make serve."
        )
    with closing(connect(path)) as journal:
        deliveries.choose(journal, night, config.ingest.late_days, config.ingest.zone)
        rows = [_as_interaction(row) for row in deliveries.chosen_rows(journal, night)]
        with replacing(target) as partial:
            write_parquet(partial, pa.Table.from_pylist(rows, SCHEMA).to_batches(), SCHEMA)
        deliveries.forget(journal, before=night - timedelta(days=config.gateway.journal_days))
    log.info("gateway: %d answers delivered for night %s", len(rows), night)
    return target


def _as_interaction(row: sqlite3.Row) -> dict[str, object]:
    """The row under the log's names; what the journal does not know stays empty."""
    known = set(row.keys())
    plain = {name: row[name] if name in known else None for name in COLUMNS}
    return plain | {
        "ts": datetime.fromisoformat(row["ts"]),
        "feedback_ts": datetime.fromisoformat(row["feedback_ts"]) if plain["feedback_ts"] else None,
        "messages": json.loads(row["messages"]),
        "opt_out": bool(row["opt_out"]),
    }
