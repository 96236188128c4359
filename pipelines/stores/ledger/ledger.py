"""The ledger's one connection: what is written, in one transaction with its links, and what is read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from pipelines.core.errors import IntegrityError
from pipelines.core.traffic_split import Route
from pipelines.stores.ledger import chain, costs, decisions, promotions, tasks
from pipelines.stores.ledger.decisions import Decision
from pipelines.stores.ledger.head import Head, HeadFile
from pipelines.stores.ledger.promotions import START, Promotion
from pipelines.stores.ledger.tables import AUDIT, COSTS, DECISIONS, MIGRATIONS, PROMOTIONS, TASK_EVENTS
from pipelines.stores.sql import leases
from pipelines.stores.sql.database import SQLITE, connect_to, dialect, is_postgres, patiently, storable

HAS_HEAD = 1  # user_version of an SQLite file whose end is written to the head file
CHAIN_LOCK = 0x6E69676874  # of the advisory lock that a writer of PostgreSQL's chain holds
WAIT_S = 120.0
T = TypeVar("T")


class Ledger:
    """Opens the ledger at an SQLAlchemy URL: a file of SQLite, which it creates, or a database of PostgreSQL.

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
            for row in map(_storable, rows):
                key = chain.key_of(table, row)
                is_new.append(key not in fresh and _is_new(connection, table, row))
                if is_new[-1]:
                    fresh[key] = row
            if fresh:
                connection.execute(table.insert(), list(fresh.values()))
                chain.link(connection, table, *fresh.values())
            return is_new

        return self._write(write)

    def refuse_lost(self) -> None:
        """Raises LeaseLost where another process has taken over what this one holds."""
        self._read(leases.refuse_lost, begin=True)

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """The rows that a query finds."""
        return self._read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])

    def head(self) -> str:
        """Hash of the newest link of the chain. It changes with every write."""
        return self._read(chain.head)

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

    def add_decision(self, document: dict[str, Any], signature: str) -> None:
        """Record a night's decision. Raises IntegrityError when the run already has another one."""
        self.append(DECISIONS, decisions.decision_row(document, signature))

    def decision(self, run_id: str) -> Decision | None:
        """The decision of a run."""
        rows = self.rows(sa.select(DECISIONS).where(DECISIONS.c.run_id == run_id))
        return decisions.decision_from(rows[0]) if rows else None

    def decisions(self, before: date | None = None) -> list[Decision]:
        """All decisions, oldest night first; with `before`, only those of earlier nights."""
        return [decisions.decision_from(row) for row in self.rows(decisions.decisions_by_night(before))]

    def decided_before(self, run_id: str) -> list[Decision]:
        """Decisions recorded before this run's own, whatever their night; all of them while it has none."""
        recorded = self.rows(decisions.decisions_as_recorded())
        earlier = itertools.takewhile(lambda row: row["run_id"] != run_id, recorded)
        return [decisions.decision_from(row) for row in earlier]

    def add_promotion(
        self,
        after: Promotion,
        move: str,
        route: Route,
        reason: str,
        actor: str,
        run_id: str = "",
        evidence: dict[str, Any] | None = None,
    ) -> Promotion:
        """Move the route table on from `after`. A move that changes nothing is not recorded.

        Raises IntegrityError when somebody else has moved it meanwhile.
        """
        if route == after.route:
            return after
        row = _storable(promotions.promotion_row(after, move, route, reason, actor, run_id, evidence or {}))

        def write(connection: sa.Connection) -> None:
            if promotions.is_recorded(connection, row):  # the server took it, and its answer was lost
                return
            promotions.refuse_stale(connection, after)
            connection.execute(PROMOTIONS.insert().values(**row))
            chain.link(connection, PROMOTIONS, row)

        self._write(write)
        return self.promotion()

    def promotion(self) -> Promotion:
        """The newest move: its route says who answers users now."""
        rows = self.rows(promotions.NEWEST)
        return promotions.promotion_from(rows[0]) if rows else START

    def promotions(self) -> list[Promotion]:
        """Every move, oldest first."""
        return [promotions.promotion_from(row) for row in self.rows(promotions.OLDEST_FIRST)]

    def add_cost(self, row: dict[str, Any]) -> None:
        """Record what a step of a run used and what that costs; once a run and step."""
        self.append(COSTS, row)

    def costs(self, run_id: str) -> list[dict[str, Any]]:
        """Rows of one run: step, seconds, cpu_seconds, gpu_seconds, amount, currency."""
        return self.rows(costs.costs_of(run_id))

    def cpu_hours(self, first: date, last: date) -> float:
        """CPU hours of the steps of all nights from `first` to `last`, both included."""
        (row,) = self.rows(costs.seconds_of(first, last))
        return float(row["cpu_seconds"]) / 3600

    def gpu_hours(self, first: date, last: date) -> float:
        """The same, in GPU hours."""
        (row,) = self.rows(costs.seconds_of(first, last))
        return float(row["gpu_seconds"]) / 3600

    def add_task_event(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        try_number: int,
        state: str,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
        message: str = "",
    ) -> None:
        """Record a change of state of an Airflow task, or of a run (empty `task_id`)."""
        row = tasks.task_event_row(dag_id, run_id, task_id, try_number, state, started_at, ended_at, message)
        self.append(TASK_EVENTS, row)

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

        self._write(write)

    def _read(self, work: Callable[[sa.Connection], T], begin: bool = False) -> T:
        """What `work` finds; in a transaction that is committed with `begin`."""

        def attempt() -> T:
            with self._engine.begin() if begin else self._engine.connect() as connection:
                return work(connection)

        return patiently(attempt, self._wait_s)

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
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


def _storable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: storable(value) for name, value in row.items()}


def _is_new(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    same_key = sa.and_(*(column == row[column.name] for column in table.primary_key))
    recorded = connection.execute(sa.select(table).where(same_key)).mappings().first()
    if recorded and table is DECISIONS:
        decisions.refuse_another_decision(dict(recorded), row)
    return recorded is None
