"""The ledger's one connection: what is written, in one transaction with its links, and what is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.core.errors import ConfigError
from pipelines.core.traffic_split import Route
from pipelines.stores.ledger import chain, costs, decisions, promotions, tasks
from pipelines.stores.ledger.decisions import Decision
from pipelines.stores.ledger.head import HeadFile
from pipelines.stores.ledger.promotions import START, Promotion
from pipelines.stores.ledger.tables import AUDIT, CHAINED, COSTS, DECISIONS, META, PROMOTIONS, TASK_EVENTS

HAS_HEAD = 1  # user_version of a database whose end is written to the head file


class Ledger:
    """Opens (and creates) the ledger at an SQLAlchemy URL; SQLite only.

    A writer waits up to `wait_s` seconds for another one, then gets SQLAlchemy's OperationalError.
    """

    def __init__(self, url: str, wait_s: float = 30.0) -> None:
        location = sa.make_url(url)
        if location.drivername != "sqlite" or not location.database:
            raise ConfigError(
                f"ledger_url is {location.render_as_string()!r}, and the ledger works with SQLite only.",
                "Set ledger_url = sqlite:///FILE.",
            )
        database = Path(location.database)
        database.parent.mkdir(parents=True, exist_ok=True)
        self._head_file = HeadFile(database)
        self._engine = sa.create_engine(location, connect_args={"timeout": wait_s})
        sa.event.listen(self._engine, "connect", _set_up_sqlite)
        with self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            META.create_all(connection)
            _forbid_changes(connection)

    def append(self, table: sa.Table, *rows: dict[str, Any]) -> list[bool]:
        """Add rows to a chained table in one transaction, all or none; returns which of them were new.

        A row whose key is already there is kept as it was. For a decision with another document that is an
        IntegrityError.
        """
        with self._write() as connection:
            is_new, fresh = [], {}
            for row in rows:
                key = chain.key_of(table, row)
                is_new.append(key not in fresh and _is_new(connection, table, row))
                if is_new[-1]:
                    fresh[key] = row
            if fresh:
                connection.execute(table.insert(), list(fresh.values()))
                chain.link(connection, table, *fresh.values())
            return is_new

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """The rows that a query finds."""
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def head(self) -> str:
        """Hash of the newest link of the chain. It changes with every write."""
        with self._engine.connect() as connection:
            return chain.head(connection)

    def verify(self) -> int:
        """Compute the chain again over every row; returns its length. Raises IntegrityError at a break, and
        where its end is not the one that was written last.
        """
        with self._engine.connect() as connection:
            links = chain.verify(connection)
            self._head_file.check(links, partial(chain.hash_at, connection), _has_head(connection))
            return links

    def accept_end(self) -> None:
        """Take the chain as it is for the whole one, after a person has looked at it."""
        with self._engine.connect() as connection:
            self._head_file.accept(chain.end(connection))

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
        row = promotions.promotion_row(after, move, route, reason, actor, run_id, evidence or {})
        with self._write() as connection:
            promotions.refuse_stale(connection, after)
            connection.execute(PROMOTIONS.insert().values(**row))
            chain.link(connection, PROMOTIONS, row)
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
    def _write(self) -> Iterator[sa.Connection]:
        """A transaction that no other writer can enter: the chain has one end."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            before, had_head = chain.end(connection), _has_head(connection)
            yield connection
            after = chain.end(connection)
            if after != before:
                connection.exec_driver_sql(f"PRAGMA user_version = {HAS_HEAD}")
        if after != before:
            with self._engine.connect() as connection:
                self._head_file.advance(after, partial(chain.hash_at, connection), had_head)


def exists(url: str) -> bool:
    """Whether there is a database at an SQLAlchemy URL; one on a server is taken to be there."""
    location = sa.make_url(url)
    return location.get_backend_name() != "sqlite" or Path(location.database or "").exists()


def _has_head(connection: sa.Connection) -> bool:
    return bool(connection.exec_driver_sql("PRAGMA user_version").scalar())


def _is_new(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    same_key = sa.and_(*(column == row[column.name] for column in table.primary_key))
    recorded = connection.execute(sa.select(table).where(same_key)).mappings().first()
    if recorded and table is DECISIONS:
        decisions.refuse_another_decision(dict(recorded), row)
    return recorded is None


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the ledger says BEGIN itself
    connection.execute("PRAGMA journal_mode=WAL")


def _forbid_changes(connection: sa.Connection) -> None:
    for table in (*CHAINED, AUDIT):
        for verb in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER IF NOT EXISTS {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
                f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )
