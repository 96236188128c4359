"""The spool: an SQLite file in which a gateway keeps, in order, what has not reached PostgreSQL yet.

An entry has a number that is never used again. PostgreSQL notes with each transaction up to which number it
has taken, so an entry that is shipped twice is stored once.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.core.errors import InputError
from pipelines.core.locks import take
from pipelines.stores.journal.entries import Entry, Feedback, FeedbackResult, ShadowCopy
from pipelines.stores.journal.file import connect_to_file
from pipelines.stores.journal.reserve import Reserve
from pipelines.stores.journal.tables import COLUMNS, INTERACTIONS, Interaction, timestamp
from pipelines.stores.sql.database import storable

SETUP = """
    CREATE TABLE IF NOT EXISTS spool (id TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS entries (
        number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS set_aside (
        number INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
        error TEXT NOT NULL);
"""
INSERT = "INSERT INTO entries (at, kind, body) VALUES (?, ?, ?)"
# As bytes: a text that is no UTF-8 would end the reading of all.
SELECT = "SELECT number, CAST(kind AS BLOB), CAST(body AS BLOB) FROM entries WHERE number > ? ORDER BY number"
REQUIRED = tuple(name for name in COLUMNS if not INTERACTIONS.c[name].nullable)
GIB = 1 << 30
WAL_PAGES = 200  # of 4 KiB: the reserve has room for them

UNREADABLE = "unreadable"  # kind of an entry whose text is damaged
KEYS = {
    "Interaction": {*REQUIRED},
    "ShadowCopy": {"promotion", "fate", "row"},
    "Feedback": {"at", "request_id", "tenant", "rating", "correction"},
    "Start": set[str](),
}


@dataclass(frozen=True)
class Spooled:
    """One entry as it lies in the spool. `kind` is the name of its class, or UNREADABLE."""

    number: int
    kind: str
    body: dict[str, Any]


def spool_path(home: str | Path) -> Path:
    """The file of a home's spool."""
    return Path(home) / "gateway" / "spool.db"


def connect_spool(path: Path, most_gib: float = 0.0) -> sqlite3.Connection:
    """Open the spool; the file is created if needed. Beyond `most_gib` SQLite says that the disk is full."""
    connection = connect_to_file(path, SETUP)
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    connection.execute("PRAGMA secure_delete = FAST")  # ON writes each page that is removed
    if most_gib:
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {int(most_gib * GIB) // page_bytes}")
    connection.execute(
        "INSERT INTO spool SELECT ? WHERE NOT EXISTS (SELECT 1 FROM spool)", (secrets.token_hex(16),)
    )
    return connection


def hold(path: Path) -> Callable[[], None]:
    """Take a spool for this process; returns what releases it, as a kill does.

    Raises InputError where a gateway has it.
    """
    if release := take(path.with_suffix(".lock")):
        return release
    raise InputError(
        f"A gateway uses the spool {path}.", "Stop it first. Each gateway needs a home of its own."
    )


def connect_within(most_gib: float) -> partial[sqlite3.Connection]:
    """Opens the spool with a limit to its size."""
    return partial(connect_spool, most_gib=most_gib)


def spool_entry(
    connection: sqlite3.Connection, entry: Entry, reserve: Reserve | None = None
) -> FeedbackResult | Exception:
    """Append one entry in the transaction under way. Returns the error of an entry that cannot be stored.

    Raises sqlite3.Error if SQLite takes no entry at present, or the room of the `reserve` is in use.
    """
    if reserve:
        reserve.refuse_new()
    try:
        body = json.dumps(_body(entry), ensure_ascii=False, allow_nan=False)
        row = (time.time(), type(entry).__name__, body)
    except Exception as error:  # noqa: BLE001  # of any kind: one bad row must not stop the writer
        return error
    connection.execute(INSERT, row)
    return "stored"


def spool_id(connection: sqlite3.Connection) -> str:
    """What PostgreSQL knows this spool by."""
    return str(connection.execute("SELECT id FROM spool").fetchone()[0])


def first_entries(connection: sqlite3.Connection, most: int, most_bytes: int) -> list[Spooled]:
    """The oldest entries, in order: at most `most`, and no further one once they have `most_bytes`."""
    found, found_bytes = list[Spooled](), 0
    with closing(connection.execute(SELECT, (0,))) as rows:
        for row in rows:
            found.append(_read(*row))
            found_bytes += len(row[2])
            if len(found) == most or found_bytes >= most_bytes:
                break
    return found


def entries_after(connection: sqlite3.Connection, number: int) -> Iterator[Spooled]:
    """All entries beyond a number, in order."""
    for row in connection.execute(SELECT, (number,)):
        yield _read(*row)


def _read(number: int, kind: bytes, text: bytes) -> Spooled:
    """An entry as it was written. One that is damaged must not keep the others from arriving."""
    try:
        name, body = kind.decode(), json.loads(text)
        if KEYS[name] <= body.keys():
            return Spooled(number, name, body)
    except (ValueError, KeyError, AttributeError):  # no text, no JSON, no such kind, no object
        pass
    return Spooled(number, UNREADABLE, {})


def remove_through(connection: sqlite3.Connection, number: int, refused: Sequence[tuple[int, str]]) -> None:
    """Remove what arrived, up to a number; entries that PostgreSQL refused are set aside with the error."""
    connection.execute("BEGIN IMMEDIATE")
    for one, error in refused:
        connection.execute(
            "INSERT OR IGNORE INTO set_aside SELECT number, at, kind, body, ? FROM entries WHERE number = ?",
            (error, one),
        )
    connection.execute("DELETE FROM entries WHERE number <= ?", (number,))
    connection.execute("COMMIT")


def backlog(connection: sqlite3.Connection) -> tuple[int, float]:
    """How many entries wait, and how many seconds the oldest has waited."""
    first, last = connection.execute("SELECT min(number), max(number) FROM entries").fetchone()
    if first is None:
        return 0, 0.0
    at = connection.execute("SELECT at FROM entries WHERE number = ?", (first,)).fetchone()
    return last - first + 1, max(0.0, time.time() - at[0]) if at else 0.0


def _body(entry: Entry) -> dict[str, Any]:
    match entry:
        case Interaction():
            return _columns(entry)
        case ShadowCopy():
            row = _columns(entry.row) if entry.row else None
            return {"promotion": entry.promotion, "fate": entry.fate, "row": row}
        case Feedback():
            said = {name: storable(getattr(entry, name)) for name in ("tenant", "rating", "correction")}
            return {"at": timestamp(entry.at), "request_id": storable(entry.request_id), **said}
    return {}


def _columns(row: Interaction) -> dict[str, Any]:
    found = dict(zip(COLUMNS, row.values(), strict=True))
    if missing := [name for name in REQUIRED if found[name] is None]:
        raise ValueError(f"A row of the journal has no {missing[0]}.")
    return found
