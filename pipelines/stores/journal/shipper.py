"""Takes a spool's entries to PostgreSQL, in order, in a thread of its own."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from pipelines.stores.journal import spool
from pipelines.stores.journal.arrivals import feedback_without_answer, ship
from pipelines.stores.journal.reserve import Reserve, is_full
from pipelines.stores.journal.tables import MIGRATIONS
from pipelines.stores.sql import database

BATCH_ROWS, BATCH_BYTES = 500, 1 << 20
PAUSE_S = 1.0  # between two looks at a spool that nobody wrote to
RETRY_S = 0.5  # after PostgreSQL or the spool could not be reached
LOCK_WAIT_S = 10.0
COUNT_EVERY_S = 60.0  # feedback that waits for its answer
log = logging.getLogger("nightshift.gateway")


class Shipper:
    """Ships the spool at `path` to the journal at `url`. Raises InputError if another gateway has the spool.

    `problem` says why nothing arrives at present. Feedback that has waited `patience_s` for its answer is
    counted in `without_answer`. An entry has about `largest_bytes` at most.
    """

    def __init__(self, path: Path, url: str, patience_s: float, largest_bytes: int) -> None:
        self._release = spool.hold(path)
        self.reserve = Reserve(path, largest_bytes)
        self._path, self._patience = path, timedelta(seconds=patience_s)
        self._engine = database.connect_to(url, LOCK_WAIT_S)
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)
        self._counted_at = -COUNT_EVERY_S
        self._is_prepared = False
        self.problem = ""
        self.failures = 0  # attempts that did not arrive
        self.set_aside = 0  # entries that PostgreSQL refuses; they stay in the spool's table of that name
        self.without_answer = 0

    def start(self) -> None:
        """Begin, once the spool's file is there."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def notify(self) -> None:
        """There are new entries."""
        self._wake.set()

    def backlog(self) -> tuple[int, float]:
        """How many entries wait, and how many seconds the oldest has waited."""
        with closing(sqlite3.connect(self._path, timeout=1.0)) as connection:
            return spool.backlog(connection)

    def left(self) -> tuple[str, int]:
        """What the journal knows the spool by, and how many entries wait."""
        with closing(sqlite3.connect(self._path, timeout=1.0)) as connection:
            return spool.spool_id(connection), spool.backlog(connection)[0]

    def close(self, patience_s: float = 5.0) -> None:
        """Ship what is left, then stop; what does not arrive in time waits for the next start."""
        self._closing.set()
        self._wake.set()
        self._thread.join(patience_s)
        with suppress(sqlite3.Error):
            if left := self.backlog()[0]:
                log.warning("%d entries stay in the spool %s: the next start ships them", left, self._path)
        self._release()

    def _run(self) -> None:
        with closing(spool.connect_spool(self._path)) as connection:
            connection.execute("PRAGMA synchronous = NORMAL")  # what is shipped twice is stored once
            while self._turn(connection):
                pass
        self._engine.dispose()

    def _turn(self, connection: sqlite3.Connection) -> bool:
        """Ship once, then wait for more. False once the shipper is closed and has tried all."""
        is_closing = self._closing.is_set()
        try:
            shipped = self._ship(connection)
        except Exception as error:  # noqa: BLE001  # the outermost loop of a thread that everybody needs
            with suppress(sqlite3.Error):
                connection.rollback()
                if is_full(error):
                    self.reserve.give_free(connection)
            self._report(error)
            shipped = 0
        if self._closing.is_set():
            return shipped > 0 or not is_closing
        if self.problem:
            self._closing.wait(RETRY_S)
        elif not shipped:
            self._wake.wait(PAUSE_S)
            self._wake.clear()
        return True

    def _ship(self, connection: sqlite3.Connection) -> int:
        """Ship the oldest entries; returns how many arrived."""
        entries, refused = spool.first_entries(connection, BATCH_ROWS, BATCH_BYTES), list[tuple[int, str]]()
        is_due = time.monotonic() >= self._counted_at + COUNT_EVERY_S
        if entries or is_due or self.problem:
            with self._engine.begin() as journal:
                self._prepare(journal)
                if entries:
                    refused = ship(journal, spool.spool_id(connection), entries)
                if is_due:
                    self.without_answer = feedback_without_answer(journal, datetime.now(UTC) - self._patience)
                    self._counted_at = time.monotonic()
        if entries:
            spool.remove_through(connection, entries[-1].number, refused)
            self._note(refused)
        elif not self.reserve.is_kept:
            self.reserve.take_back(connection)
        self.problem = ""
        return len(entries)

    def _prepare(self, journal: sa.Connection) -> None:
        """The server ends a transaction whose gateway has gone silent: it holds the lock of all gateways."""
        if not self._is_prepared:
            MIGRATIONS.require(journal)
            self._is_prepared = True
        journal.execute(sa.text(f"SET LOCAL idle_in_transaction_session_timeout = '{LOCK_WAIT_S:.0f}s'"))

    def _note(self, refused: list[tuple[int, str]]) -> None:
        self.set_aside += len(refused)
        for number, error in refused:
            log.error("the journal refuses entry %d of the spool and it is set aside: %s", number, error)

    def _report(self, error: Exception) -> None:
        """Note why nothing arrives, without the statement and its values."""
        self.failures += 1
        what = "its disk is full" if is_full(error) else "the journal's database takes none"
        problem = f"rows wait in the spool, {what}: {database.cause_of(error)}"
        if problem != self.problem:
            log.error(problem)
        self.problem = problem
