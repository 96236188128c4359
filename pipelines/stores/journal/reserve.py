"""Room that is kept free for a spool on a full disk: SQLite has to write before it can remove anything."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

# The WAL holds at most 0.8 MB and one commit of the writer, twice where it could not be emptied. Then
# removing a batch writes at most a page of 4 KiB for each of its 500 entries, and copies refused ones.
BASE_BYTES = 4 << 20
LARGEST = 8  # times the largest entry


class Reserve:
    """A file beside the spool that takes the room up.

    It is given free when the disk is full, so that what the spool holds can go. Until the spool is empty and
    the file is there again, the spool takes nothing new, which would use the room up.
    """

    def __init__(self, spool: Path, largest_bytes: int) -> None:
        self._file = spool.with_suffix(".reserve")
        self._size_bytes = BASE_BYTES + LARGEST * largest_bytes
        self.keep()

    @property
    def is_kept(self) -> bool:
        return self._file.exists()

    def keep(self) -> None:
        """Take the room up, if the disk has it; three quarters of it, if it has no more."""
        enough_bytes = self._size_bytes * 3 // 4
        for size_bytes in (self._size_bytes, enough_bytes):
            if not self.is_kept or self._file.stat().st_size < enough_bytes:  # an older version took less
                self._allocate(size_bytes)

    def _allocate(self, size_bytes: int) -> None:
        partial = self._file.with_suffix(".partial")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                os.posix_fallocate(file.fileno(), 0, size_bytes)
            partial.rename(self._file)
        except OSError:  # the disk is still full
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def refuse_new(self) -> None:
        """Raises sqlite3.OperationalError while the room is needed for what the spool holds."""
        if not self.is_kept:
            raise sqlite3.OperationalError("the disk is full: what the spool holds goes first")

    def give_free(self, connection: sqlite3.Connection) -> None:
        """Use the room to bring the spool's file up to date, which empties its WAL."""
        self._file.unlink(missing_ok=True)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def take_back(self, connection: sqlite3.Connection) -> None:
        """Shrink the spool's file, which is empty now, and take the room up again."""
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.keep()


def is_full(error: Exception) -> bool:
    """Whether SQLite found no room on the disk."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
