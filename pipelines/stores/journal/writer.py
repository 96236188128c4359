"""Writes the journal. One thread commits in groups whatever arrived within a few milliseconds."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pipelines.stores.journal.tables import COLUMNS, Interaction, connect, timestamp

GROUP_ROWS = 500
RETRY_S = 0.1  # after SQLite refused a commit: the file is locked, or the disk is full
INSERT = f"INSERT OR IGNORE INTO interactions ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
FeedbackResult = Literal["stored", "unchanged", "unknown"]
log = logging.getLogger("nightshift.gateway")


@dataclass(frozen=True)
class _Feedback:
    request_id: str
    tenant: str
    rating: int | None
    correction: str | None
    result: Future[FeedbackResult]


class JournalWriter:
    """Writes the journal at `path`. Only one gateway at a time may do that."""

    def __init__(self, path: Path, commit_ms: int, most_waiting: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._commit_s = path, commit_ms / 1000
        self._waiting: queue.Queue[Interaction | _Feedback | None] = queue.Queue(most_waiting)
        self.lost = 0  # rows that found the queue full
        self._closing = threading.Event()
        connect(path).close()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread that writes is running."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many entries wait to be written."""
        return self._waiting.qsize()

    def add(self, row: Interaction) -> None:
        """Queue a row; never waits. The row is on disk at most `commit_ms` and one commit later.

        The texts of people who opted out are dropped. If the queue is full, the row is lost and counted.
        """
        if row.opt_out:
            row = replace(row, messages=(), completion="")
        try:
            self._waiting.put_nowait(row)
        except queue.Full:
            self.lost += 1
            log.error("the journal's queue is full: a row is lost", extra={"request_id": row.request_id})

    def feedback(
        self, request_id: str, tenant: str, rating: int | None, correction: str | None
    ) -> Future[FeedbackResult]:
        """Queue a user's feedback on an answer. The future has its result once the feedback is on disk.

        "unknown": this tenant got no answer with that id. Raises queue.Full.
        """
        result: Future[FeedbackResult] = Future()
        self._waiting.put_nowait(_Feedback(request_id, tenant, rating, correction, result))
        return result

    def close(self, patience_s: float = 20.0) -> None:
        """Write everything that waits, then stop. Gives up after `patience_s` if SQLite keeps refusing."""
        self._closing.set()
        with suppress(queue.Full):
            self._waiting.put(None, timeout=patience_s)
        self._thread.join(patience_s)
        if self._thread.is_alive():
            log.error("the journal could not be written: at least %d rows are lost", self.waiting)

    def _run(self) -> None:
        connection = connect(self._path)
        ended = False
        while not ended:
            group, ended = self._next_group()
            while group and not _commit(connection, group):
                time.sleep(RETRY_S)
        connection.close()

    def _next_group(self) -> tuple[list[Interaction | _Feedback], bool]:
        """What arrives within `commit_ms` of the first entry, and whether the journal was closed."""
        entry = self._waiting.get()
        group: list[Interaction | _Feedback] = []
        end = time.monotonic() + (0 if self._closing.is_set() else self._commit_s)
        while entry is not None:
            group.append(entry)
            try:
                left = max(0.0, end - time.monotonic())
                entry = self._waiting.get(timeout=left) if left else self._waiting.get_nowait()
            except queue.Empty:
                return group, False
            if len(group) >= GROUP_ROWS:
                end = 0.0
        return group, True


def _commit(connection: sqlite3.Connection, group: list[Interaction | _Feedback]) -> bool:
    """Write a group in one transaction, then resolve its feedback. False if SQLite refused for now."""
    results = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for entry in group:
            if isinstance(entry, Interaction):
                connection.execute(INSERT, entry.values())
            else:
                results.append((entry.result, _store_feedback(connection, entry)))
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        log.error("the journal could not be written and is tried again: %s", error)
        return False
    for future, result in results:
        if future.set_running_or_notify_cancel():
            future.set_result(result)
    return True


def _store_feedback(connection: sqlite3.Connection, entry: _Feedback) -> FeedbackResult:
    answered = connection.execute(
        "SELECT opt_out FROM interactions WHERE request_id = ? AND tenant = ? AND parent IS NULL",
        (entry.request_id, entry.tenant),
    ).fetchone()
    if answered is None:
        return "unknown"
    new = (entry.rating, None if answered["opt_out"] else entry.correction)
    last = connection.execute(
        "SELECT rating, correction FROM feedback WHERE request_id = ? ORDER BY seq DESC LIMIT 1",
        (entry.request_id,),
    ).fetchone()
    if last is not None and tuple(last) == new:
        return "unchanged"
    connection.execute(
        "INSERT INTO feedback (at, request_id, rating, correction) VALUES (?, ?, ?, ?)",
        (timestamp(datetime.now(UTC)), entry.request_id, *new),
    )
    return "stored"
