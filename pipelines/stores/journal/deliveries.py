"""Which answers a night delivers: chosen once, recorded in `delivered`, and read from there."""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta, tzinfo
from pathlib import Path

from pipelines.stores.journal.reader import JournalReader
from pipelines.stores.journal.tables import midnight

# Whole answers that users got. Rows with a parent are a shadow's answers or failed attempts.
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
    SELECT i.*, f.rating, f.correction, f.at AS feedback_ts FROM delivered d JOIN interactions i USING
    (request_id) LEFT JOIN feedback f ON f.seq = d.feedback_seq
    WHERE d.night = ? ORDER BY i.ts, i.request_id
"""
FORGET = """
    DELETE FROM interactions WHERE ts < '{before}';
    DELETE FROM feedback WHERE request_id NOT IN (SELECT request_id FROM interactions);
    DELETE FROM delivered WHERE request_id NOT IN (SELECT request_id FROM interactions);
"""


def delivery_path(home: str | Path, night: date) -> Path:
    """Where the night's delivery lies once it is written."""
    return Path(home) / "gateway" / "interactions" / f"dt={night}" / "part.parquet"


def awaits_delivery(home: str | Path, night: date, zone: tzinfo) -> bool:
    """Whether the night, a day in `zone`, has answers and no delivery yet."""
    return not delivery_path(home, night).exists() and JournalReader(home).has_answers(night, zone)


def choose(journal: sqlite3.Connection, night: date, late_days: int, zone: tzinfo) -> None:
    """Record what the night delivers; a night that was recorded before stays as it is.

    That is the answers of its day in `zone`, and those of `late_days` before it that are new or have newer
    feedback than what was delivered of them.
    """
    if journal.execute("SELECT 1 FROM delivered WHERE night = ?", (str(night),)).fetchone():
        return
    first, end = midnight(night - timedelta(days=late_days), zone), midnight(night + timedelta(days=1), zone)
    journal.execute(CHOOSE, {"night": str(night), "first": first, "end": end})


def chosen_rows(journal: sqlite3.Connection, night: date) -> list[sqlite3.Row]:
    """The rows that the night delivers, each with the feedback it had when it was chosen."""
    return journal.execute(READ, (str(night),)).fetchall()


def forget(journal: sqlite3.Connection, before: date) -> None:
    """Delete all answers from before a day, and what belongs to them."""
    journal.executescript(FORGET.format(before=midnight(before)))
