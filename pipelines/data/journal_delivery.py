"""A night's delivery from the journal: the answers of the day with their feedback, as `ingest` reads them.

    python -m pipelines.data.journal_delivery --night 2026-01-31

A row is delivered in the night of its day. Late rows, and rows whose feedback came or changed after their
delivery, are delivered again in a later night while `ingest.late_days` admits them. What a night delivered is
recorded first and its file follows, so doing it again changes nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sqlite3
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pipelines.core.config import Config, load_config
from pipelines.core.errors import InputError, NightshiftError
from pipelines.core.interactions import COLUMNS
from pipelines.data.lake import write_parquet
from pipelines.data.schema import SCHEMA
from pipelines.stores.journal.writer import connect, delivery_path, journal_path, midnight

# Whole answers that a user got. A shadow's and a failed attempt's rows have a parent: the judge's evidence.
CHOOSE = """
    INSERT INTO delivered
    SELECT :night, i.request_id, coalesce(max(f.seq), 0) AS newest FROM interactions i
    LEFT JOIN feedback f USING (request_id)
    WHERE i.ts >= :first AND i.ts < :end AND i.fault = '' AND i.parent IS NULL
    GROUP BY i.request_id
    HAVING newest > coalesce(
        (SELECT max(feedback_seq) FROM delivered d WHERE d.request_id = i.request_id), -1)
"""
READ = """
    SELECT i.*, f.rating, f.correction FROM delivered d JOIN interactions i USING (request_id)
    LEFT JOIN feedback f ON f.seq = d.feedback_seq
    WHERE d.night = ? ORDER BY i.ts, i.request_id
"""
FORGET = """
    DELETE FROM interactions WHERE ts < '{before}';
    DELETE FROM feedback WHERE request_id NOT IN (SELECT request_id FROM interactions);
    DELETE FROM delivered WHERE request_id NOT IN (SELECT request_id FROM interactions);
"""
log = logging.getLogger("nightshift")


def deliver(config: Config, night: date) -> Path:
    """Write the night's delivery; one that was written stays as it is. Old rows are forgotten.

    Raises InputError where no gateway has ever run.
    """
    target = delivery_path(config.home, night)
    if target.exists():
        return target
    journal = journal_path(config.home)
    if not journal.exists():
        raise InputError(f"the gateway's journal at {journal}", "none", "Start it once: make serve.")
    connection = connect(journal)
    chosen = connection.execute("SELECT 1 FROM delivered WHERE night = ?", (str(night),)).fetchone()
    if not chosen:
        first = midnight(night - timedelta(days=config.ingest.late_days))
        day = {"night": str(night), "first": first, "end": midnight(night + timedelta(days=1))}
        connection.execute(CHOOSE, day)
    rows = [_row(row) for row in connection.execute(READ, (str(night),))]
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{os.getpid()}")
    write_parquet(work, pa.Table.from_pylist(rows, SCHEMA).to_batches(), SCHEMA)
    os.replace(work, target)
    before = midnight(night - timedelta(days=config.gateway.journal_days))
    connection.executescript(FORGET.format(before=before))
    connection.close()
    log.info("gateway: %d rows delivered for night %s", len(rows), night)
    return target


def _row(row: sqlite3.Row) -> dict[str, object]:
    plain = {name: row[name] for name in COLUMNS}
    return plain | {
        "ts": datetime.fromisoformat(row["ts"]),
        "messages": json.loads(row["messages"]),
        "opt_out": bool(row["opt_out"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.data.journal_delivery", description=__doc__)
    parser.add_argument("--config", default=os.environ.get("NIGHTSHIFT_CONFIG", "config/demo.toml"))
    parser.add_argument("--home", default=os.environ.get("NIGHTSHIFT_HOME", ".nightshift"))
    parser.add_argument("--night", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")
    args = parser.parse_args()
    try:
        print(deliver(load_config(args.config, Path(args.home).resolve()), args.night))
    except NightshiftError as error:
        print(f"fault: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
