"""Writes the journal, or the spool before it. One thread commits what arrives in groups."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pipelines.stores.journal.entries import (
    CopyFate,
    Entry,
    Feedback,
    FeedbackResult,
    ShadowCopy,
    Start,
    text_length,
    write_entry,
)
from pipelines.stores.journal.file import connect
from pipelines.stores.journal.shipper import Shipper
from pipelines.stores.journal.tables import Interaction

GROUP_ROWS = 500
GROUP_CHARACTERS = 1 << 18  # the spool's reserve has room for one group, of up to 4 bytes a character
RETRY_S = 0.1  # after SQLite refused a commit: the file is locked, or the disk is full
Connect = Callable[[Path], sqlite3.Connection]
Write = Callable[[sqlite3.Connection, Entry], FeedbackResult | Exception]
log = logging.getLogger("nightshift.gateway")


class JournalWriter:
    """Writes the SQLite file at `path`: the journal itself, or a spool that `shipper` takes further.

    Only one gateway at a time may do that. `connect` and `write` say what is in the file.
    """

    def __init__(
        self,
        path: Path,
        commit_ms: int,
        most_waiting: int,
        connect: Connect = connect,
        write: Write = write_entry,
        shipper: Shipper | None = None,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._commit_s = path, commit_ms / 1000
        self._connect, self._write, self.shipper = connect, write, shipper
        self._waiting: queue.Queue[Entry | None] = queue.Queue(most_waiting)
        self.lost = 0  # rows that found the queue full
        self.set_aside = 0  # rows and feedback that cannot be stored at all
        self.problem = ""  # why nothing is written at present
        self._closing = threading.Event()
        connect(path).close()
        self._waiting.put_nowait(Start())
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()
        if shipper:
            shipper.start()

    @property
    def is_alive(self) -> bool:
        """Whether the threads that write are running."""
        return self._thread.is_alive() and (self.shipper is None or self.shipper.is_alive)

    @property
    def waiting(self) -> int:
        """How many entries wait to be written."""
        return self._waiting.qsize()

    def add(self, row: Interaction) -> None:
        """Queue a row; never waits. The row is on disk at most `commit_ms` and one commit later.

        The texts of people who opted out are dropped. If the queue is full, the row is lost and counted.
        """
        self._put(_without_texts(row))

    def count_copy(self, promotion: int, fate: CopyFate, row: Interaction | None = None) -> None:
        """Count what became of a copy for the shadow of a promotion, with its row if there is one, as `add`.

        A copy is offered first. One that is still open when the gateway ends counts as dropped from the
        next start on.
        """
        self._put(ShadowCopy(promotion, fate, _without_texts(row) if row else None))

    def _put(self, entry: Entry) -> None:
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self.lost += 1
            log.error("the journal's queue is full: a row is lost", extra={"request_id": entry.request_id})

    def feedback(
        self, request_id: str, tenant: str, rating: int | None, correction: str | None
    ) -> Future[FeedbackResult]:
        """Queue a user's feedback on an answer. The future has its result once the feedback is on disk.

        "unknown": this tenant got no answer with that id, which a spool cannot tell. Raises queue.Full, and
        ValueError for feedback that says nothing.
        """
        if rating is None and not correction:
            raise ValueError("Feedback has neither a rating nor a correction. Give one of them.")
        result: Future[FeedbackResult] = Future()
        self._waiting.put_nowait(Feedback(request_id, tenant, rating, correction, datetime.now(UTC), result))
        return result

    def close(self, patience_s: float = 20.0) -> None:
        """Write everything that waits, then stop. Gives up after `patience_s` if SQLite keeps refusing."""
        self._closing.set()
        with suppress(queue.Full):
            self._waiting.put(None, timeout=patience_s)
        self._thread.join(patience_s)
        if self._thread.is_alive():
            log.error("the journal could not be written: at least %d rows are lost", self.waiting)
        if self.shipper:
            self.shipper.close()

    def _run(self) -> None:
        connection, ended = self._connect(self._path), False
        while not ended:
            group, ended = self._next_group()
            try:
                while group and not self._commit(connection, group):
                    time.sleep(RETRY_S)
            except Exception:  # the outermost loop of a thread that everybody needs
                log.exception("the journal sets a group of %d rows aside", len(group))
                self.set_aside += len(group)
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
        connection.close()

    def _next_group(self) -> tuple[list[Entry], bool]:
        """What arrives within `commit_ms` of the first entry, and whether the journal was closed."""
        entry = self._waiting.get()
        group, characters = list[Entry](), 0
        end = time.monotonic() + (0 if self._closing.is_set() else self._commit_s)
        while entry is not None:
            group.append(entry)
            characters += text_length(entry)
            if len(group) >= GROUP_ROWS or characters >= GROUP_CHARACTERS:
                return group, False
            try:
                left = max(0.0, end - time.monotonic())
                entry = self._waiting.get(timeout=left) if left else self._waiting.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, connection: sqlite3.Connection, group: list[Entry]) -> bool:
        """Write a group in one transaction, then resolve its feedback. False if SQLite refused for now.

        An entry that cannot be stored is set aside, and the others are written.
        """
        results: list[FeedbackResult | Exception] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [self._write(connection, entry) for entry in group]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self.problem = f"the journal could not be written and is tried again: {error}"
            log.error(self.problem)
            return False
        self.problem = ""
        if self.shipper:
            self.shipper.notify()
        for entry, result in zip(group, results, strict=True):
            self._settle(entry, result)
        return True

    def _settle(self, entry: Entry, result: FeedbackResult | Exception) -> None:
        """Count an entry that was set aside, and tell whoever waits for feedback."""
        if isinstance(result, Exception):
            self.set_aside += 1
            kind = type(result).__name__
            extra = {"request_id": entry.request_id[:100]}
            log.error("the journal cannot store a row and sets it aside: %s", kind, extra=extra)
        if isinstance(entry, Feedback) and entry.result.set_running_or_notify_cancel():
            if isinstance(result, Exception):
                entry.result.set_exception(result)
            else:
                entry.result.set_result(result)


def _without_texts(row: Interaction) -> Interaction:
    """The row; of somebody who opted out, without its texts."""
    return replace(row, messages=(), completion="") if row.opt_out else row
