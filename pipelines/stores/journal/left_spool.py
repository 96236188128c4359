"""Takes what a lost gateway's spool holds to the journal, also out of a file that is damaged.

The spool stays as it is. PostgreSQL knows up to where it has arrived, so what is delivered twice is stored
once, and a delivery that was interrupted goes on where it ended.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import sqlalchemy as sa

from pipelines.core.errors import InputError
from pipelines.stores.journal import spool
from pipelines.stores.journal.arrivals import arrived_through, close_source, ship
from pipelines.stores.journal.spool import Spooled
from pipelines.stores.journal.tables import MIGRATIONS
from pipelines.stores.sql import database

BATCH = 500
WAIT_S = 60.0  # for a database that is away
SILENCE = "SET LOCAL idle_in_transaction_session_timeout = '60s'"  # it holds the lock of all gateways
Span = tuple[int, int]  # first and last number


@dataclass
class Delivery:
    """What became of the entries of a spool, by their numbers. `spool`: what the journal knows it by."""

    spool: str
    stored: Counter[str] = field(default_factory=Counter)  # by kind; now, not before
    had_arrived: int = 0  # read again, and known to the journal
    refused: list[tuple[int, str]] = field(default_factory=list)  # each with the error
    unread: list[Span] = field(default_factory=list)  # the file is damaged there
    set_aside: int = 0  # refused while the gateway still lived


def deliver_spool(path: Path, url: str, tell: Callable[[int], None] = lambda number: None) -> Delivery:
    """Deliver the spool at `path` to the journal at `url`, and call `tell` with the number of what arrived.

    Raises InputError for a spool whose gateway runs and a file that is no spool, UnavailableError if the
    database stays away.
    """
    release, engine = spool.hold(path), database.connect_to(url, WAIT_S)
    try:
        with closing(_opened(path)) as file:
            found = _identified(file, path)
            database.patiently(lambda: _require_tables(engine), WAIT_S)
            entries = _entries(file, found)
            while batch := list(islice(entries, BATCH)):
                _ship(engine, found, batch)
                tell(batch[-1].number)
        database.patiently(lambda: _close(engine, found.spool), WAIT_S)
        return found
    finally:
        engine.dispose()
        release()


def spool_of(path: Path) -> str:
    """What the journal knows the spool at `path` by. Raises InputError for a file that is no spool."""
    with closing(_opened(path)) as file:
        return _identified(file, path).spool


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=5.0, isolation_level=None)


def _identified(file: sqlite3.Connection, path: Path) -> Delivery:
    try:
        found = Delivery(spool.spool_id(file))
    except (sqlite3.Error, TypeError) as error:
        raise InputError(
            f"The spool {path} cannot be read: {error}.",
            "Name the home of a gateway. Where the disk damaged it, try .recover of sqlite3 on a copy.",
        ) from error
    with suppress(sqlite3.Error):
        found.set_aside = file.execute("SELECT count(*) FROM set_aside").fetchone()[0]
    return found


def _entries(file: sqlite3.Connection, found: Delivery) -> Iterator[Spooled]:
    """All entries that can be read, in order. Where the file is damaged they go on behind the damage."""
    after = 0
    while True:
        try:
            for entry in spool.entries_after(file, after):
                yield entry
                after = entry.number
            return
        except sqlite3.DatabaseError:
            behind = _first_behind(file, after)
        if behind > after + 1:
            found.unread.append((after + 1, behind - 1))
        after = max(behind - 1, after + 1)


def _first_behind(file: sqlite3.Connection, number: int) -> int:
    """The first entry behind a damage that begins after `number`: the file is read from its end."""
    (end,) = file.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    first = end + 1
    with suppress(sqlite3.DatabaseError):
        for row in file.execute(f"{spool.SELECT} DESC", (number,)):
            first = row[0]
    return first


def _require_tables(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        MIGRATIONS.require(connection)


def _ship(engine: sa.Engine, found: Delivery, entries: Sequence[Spooled]) -> None:
    """Store a batch. One whose commit got lost on the way is tried again, and stored once."""

    def attempt() -> tuple[int, list[tuple[int, str]]]:
        with engine.begin() as connection:
            connection.execute(sa.text(SILENCE))
            return arrived_through(connection, found.spool), ship(connection, found.spool, entries)

    arrived, refused = database.patiently(attempt, WAIT_S)
    not_stored = {number for number, _ in refused}
    new = [one for one in entries if one.number > arrived]
    found.had_arrived += len(entries) - len(new)
    found.stored.update(one.kind for one in new if one.number not in not_stored)
    found.refused += refused


def _close(engine: sa.Engine, source: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(SILENCE))
        close_source(connection, source)
