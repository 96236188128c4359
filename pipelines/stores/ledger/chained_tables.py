"""Tables that are only added to: each row has a link in one hash chain, written in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from pipelines.core.errors import IntegrityError
from pipelines.stores.ledger import chain, decisions
from pipelines.stores.ledger.head import Head, HeadFile
from pipelines.stores.ledger.tables import AUDIT, DECISIONS, MIGRATIONS
from pipelines.stores.sql import leases
from pipelines.stores.sql.database import SQLITE, connect_to, dialect, is_postgres, patiently, storable

HAS_HEAD = 1  # user_version of an SQLite file whose end is written to the head file
CHAIN_LOCK = 0x6E69676874  # of the advisory lock that a writer of PostgreSQL's chain holds
WAIT_S = 120.0
T = TypeVar("T")


class ChainedTables:
    """Opens the tables at an SQLAlchemy URL: a file of SQLite, which it creates, or a database of PostgreSQL.

    A writer waits up to `wait_s` seconds for another one, then gets SQLAlchemy's OperationalError. A server
    that is away for longer is an UnavailableError. `head`: the file that keeps the chain's end; by default it
    lies beside an SQLite file.
    """

    def __init__(self, url: str, wait_s: float = WAIT_S, head: HeadFile | None = None) -> None:
        self._is_file, self._wait_s = dialect(url, "ledger_url") == SQLITE, wait_s
        self._engine = connect_to(url, wait_s)
        file = Path(str(self._engine.url.database))
        self._head_file = head or (HeadFile.beside(file) if self._is_file else None)
        if self._is_file:
            file.parent.mkdir(parents=True, exist_ok=True)
            with self._engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                MIGRATIONS.upgrade(connection)
        else:
            self._read(MIGRATIONS.require)

    def append(self, table: sa.Table, *rows: dict[str, Any]) -> list[bool]:
        """Add rows to a chained table in one transaction, all or none; returns which of them were new.

        A row whose key is already there is kept as it was. For a decision with another document that is an
        IntegrityError.
        """

        def write(connection: sa.Connection) -> list[bool]:
            is_new, fresh = [], {}
            for row in map(storable_row, rows):
                key = chain.key_of(table, row)
                is_new.append(key not in fresh and _is_new(connection, table, row))
                if is_new[-1]:
                    fresh[key] = row
            if fresh:
                connection.execute(table.insert(), list(fresh.values()))
                chain.link(connection, table, *fresh.values())
            return is_new

        return self.write(write)

    def refuse_lost(self) -> None:
        """Raises LeaseLost where another process has taken over what this one holds."""
        self._read(leases.refuse_lost, begin=True)

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """The rows that a query finds."""
        return self._read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])

    def head(self) -> str:
        """Hash of the newest link of the chain. It changes with every write."""
        return self._read(chain.head)

    def hashes(self) -> set[str]:
        """The hash of every link, and the one before the first."""
        return {chain.GENESIS, *(row["hash"] for row in self.rows(sa.select(AUDIT.c.hash)))}

    def verify(self) -> int:
        """Compute the chain again over every row; returns its length. Raises IntegrityError at a break, and
        where its end is not the one that was written last.
        """

        def check(connection: sa.Connection) -> int:
            links = chain.verify(connection)
            if self._head_file:
                self._head_file.check(links, partial(chain.hash_at, connection), _has_head(connection))
            return links

        return self._read(check)

    def accept_end(self) -> None:
        """Take the chain as it is for the whole one, after a person has looked at it."""
        if self._head_file:
            self._head_file.accept(self._read(chain.end))

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for a reading that is longer than one query."""
        with self._engine.connect() as connection:
            yield connection

    def take_over(self, copied: Sequence[tuple[sa.Table, dict[str, Any], dict[str, Any]]]) -> None:
        """Add (table, row, link) of another ledger as they are, all or none. They follow this one's end."""

        def write(connection: sa.Connection) -> None:
            end = chain.end(connection)
            if copied[-1][2]["seq"] <= end.links:  # the server took them, and its answer was lost
                return
            if copied[0][2]["previous"] != end.hash:
                raise IntegrityError(
                    f"The ledger has {end.links} links now, and the copied ones do not follow them.",
                    "Stop whatever writes to it, and copy again.",
                )
            for table, row, link in copied:
                connection.execute(table.insert(), row)
                connection.execute(AUDIT.insert(), link)

        self.write(write)

    def _read(self, work: Callable[[sa.Connection], T], begin: bool = False) -> T:
        """What `work` finds; in a transaction that is committed with `begin`."""

        def attempt() -> T:
            with self._engine.begin() if begin else self._engine.connect() as connection:
                return work(connection)

        return patiently(attempt, self._wait_s)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do `work` in a transaction that no other writer can enter: the chain has one end."""

        def attempt() -> tuple[T, Head, Head, bool]:
            with self._engine.begin() as connection:
                self._lock_out_writers(connection)
                before, had_head = chain.end(connection), _has_head(connection)
                done, after = work(connection), chain.end(connection)
                if after != before and self._is_file:
                    connection.exec_driver_sql(f"PRAGMA user_version = {HAS_HEAD}")
                return done, before, after, had_head

        done, before, after, had_head = patiently(attempt, self._wait_s)
        if after != before and self._head_file:
            with self._engine.connect() as connection:
                self._head_file.advance(after, partial(chain.hash_at, connection), had_head)
        return done

    def _lock_out_writers(self, connection: sa.Connection) -> None:
        if self._is_file:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CHAIN_LOCK)))
        leases.refuse_lost(connection)


def _has_head(connection: sa.Connection) -> bool:
    """Whether the end must stand in the head file. With PostgreSQL each machine has its own file, or none."""
    if is_postgres(connection):
        return False
    return bool(connection.exec_driver_sql("PRAGMA user_version").scalar())


def storable_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: storable(value) for name, value in row.items()}


def _is_new(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    same_key = sa.and_(*(column == row[column.name] for column in table.primary_key))
    recorded = connection.execute(sa.select(table).where(same_key)).mappings().first()
    if recorded and table is DECISIONS:
        decisions.refuse_another_decision(dict(recorded), row)
    return recorded is None
