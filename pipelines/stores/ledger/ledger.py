"""The ledger: one SQL database, append-only tables, and a hash chain over every row.

It answers "who changed what, when, from what, why" for good. Needs SQLAlchemy only, so that Airflow's
listener can write to it too.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.core.contract import canonical_json
from pipelines.core.errors import ConfigError, IntegrityError
from pipelines.core.traffic_split import Route, route_from
from pipelines.stores.ledger.tables import AUDIT, CHAINED, COSTS, DECISIONS, META, PROMOTIONS, TASK_EVENTS

GENESIS = "0" * 64


@dataclass(frozen=True)
class Decision:
    """One night's answer, as it was signed."""

    run_id: str
    night: date
    outcome: str
    reasons: tuple[str, ...]
    facts: dict[str, Any]
    evidence: dict[str, str]  # step -> digest of its manifest
    document: str
    signature: str


@dataclass(frozen=True)
class Promotion:
    """One move of the route table; number 0 is the start, when the bare base model answers."""

    number: int
    at: str
    move: str
    route: Route
    reason: str
    actor: str
    run_id: str
    evidence: dict[str, Any]


START = Promotion(0, "", "start", Route(), "", "", "", {})


class Ledger:
    """Open (and create) the ledger at an SQLAlchemy URL; SQLite for now.

    A writer waits up to `wait_s` seconds for another one, then gets SQLAlchemy's OperationalError.
    """

    def __init__(self, url: str, wait_s: float = 30.0) -> None:
        location = sa.make_url(url)
        if location.drivername != "sqlite" or not location.database:
            raise ConfigError("ledger_url = sqlite:///FILE", url, "Other databases are not supported yet.")
        Path(location.database).parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(location, connect_args={"timeout": wait_s})
        sa.event.listen(self._engine, "connect", _set_up_sqlite)
        with self._write() as connection:
            META.create_all(connection)
            _forbid_changes(connection)

    def add_decision(self, document: dict[str, Any], signature: str) -> None:
        """Record a night's decision. The same run is recorded once; another answer for it is refused."""
        row = {
            "run_id": document["run_id"],
            "night": document["night"],
            "outcome": document["outcome"],
            "document": canonical_json(document).decode(),
            "signature": signature,
        }
        self.append(DECISIONS, row)

    def add_cost(self, row: dict[str, Any]) -> None:
        """Record what a step of a run used and what that costs; once a run and step."""
        self.append(COSTS, row)

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
        """Move the route table on from `after`, all at once. A move that changes nothing is not recorded.

        Raises IntegrityError when somebody else has moved it meanwhile.
        """
        if route == after.route:
            return after
        row = {
            "number": after.number + 1,
            "at": datetime.now(UTC).isoformat(),
            "move": move,
            "route": canonical_json(asdict(route)).decode(),
            "reason": reason,
            "actor": actor,
            "run_id": run_id,
            "evidence": canonical_json(evidence or {}).decode(),
        }
        with self._write() as connection:
            last = connection.scalar(sa.select(sa.func.max(PROMOTIONS.c.number))) or 0
            if last != after.number:
                raise IntegrityError(
                    f"the route table as promotion {after.number} left it",
                    f"promotion {last}",
                    "Somebody moved it meanwhile: look at the new route, then decide again.",
                )
            connection.execute(PROMOTIONS.insert().values(**row))
            self._link(connection, PROMOTIONS, row)
        return self.promotion()

    def promotion(self) -> Promotion:
        """The newest move: its route is who answers users now."""
        query = sa.select(PROMOTIONS).order_by(PROMOTIONS.c.number.desc()).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return _promotion(row) if row else START

    def promotions(self) -> list[Promotion]:
        """Every move, oldest first."""
        with self._engine.connect() as connection:
            return [_promotion(row) for row in connection.execute(sa.select(PROMOTIONS).order_by("number"))]

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
        """Record a change of state of an Airflow task, or of a run (empty task_id)."""
        times = {"started_at": started_at, "ended_at": ended_at}
        row = {
            "dag_id": dag_id,
            "run_id": run_id,
            "task_id": task_id,
            "try_number": try_number,
            "state": state,
        }
        texts = {name: value.isoformat() if value else None for name, value in times.items()}
        self.append(TASK_EVENTS, {**row, **texts, "message": message})

    def decisions(self, before: date | None = None) -> list[Decision]:
        """All decisions, oldest night first; with `before`, only those of earlier nights."""
        query = sa.select(DECISIONS).order_by(DECISIONS.c.night, DECISIONS.c.run_id)
        if before:
            query = query.where(DECISIONS.c.night < before.isoformat())
        with self._engine.connect() as connection:
            return [_decision(row) for row in connection.execute(query)]

    def decided_before(self, run_id: str) -> list[Decision]:
        """Decisions recorded before this run's own, whatever their night; all of them while it has none."""
        link = sa.and_(AUDIT.c.table_name == DECISIONS.name, AUDIT.c.row_key == DECISIONS.c.run_id)
        query = sa.select(DECISIONS, AUDIT.c.seq).join(AUDIT, link).order_by(AUDIT.c.seq)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        earlier = itertools.takewhile(lambda row: row.run_id != run_id, rows)
        return [_decision(row) for row in earlier]

    def decision(self, run_id: str) -> Decision | None:
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(DECISIONS).where(DECISIONS.c.run_id == run_id)).first()
        return _decision(row) if row else None

    def cpu_hours(self, first: date, last: date) -> float:
        """CPU hours of the steps of all nights from `first` to `last`, both included."""
        nights = COSTS.c.night.between(first.isoformat(), last.isoformat())
        with self._engine.connect() as connection:
            total = connection.scalar(sa.select(sa.func.sum(COSTS.c.cpu_seconds)).where(nights))
        return (total or 0.0) / 3600

    def costs(self, run_id: str) -> list[dict[str, Any]]:
        """Rows of one run: step, seconds, cpu_seconds, gpu_seconds, amount, currency."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(COSTS).where(COSTS.c.run_id == run_id))
            return [dict(row._mapping) for row in rows]

    def append(self, table: sa.Table, *rows: dict[str, Any]) -> list[bool]:
        """Add rows to a chained table in one transaction, all or none; returns which of them were new.

        A row whose key is there already stays as it was: what is written twice is there once. For a decision
        another answer is an IntegrityError.
        """
        with self._write() as connection:
            new, fresh = [], {}
            for row in rows:
                key = _key(table, row)
                new.append(key not in fresh and self._is_new(connection, table, row))
                if new[-1]:
                    fresh[key] = row
            if fresh:
                connection.execute(table.insert(), list(fresh.values()))
                self._link(connection, table, *fresh.values())
            return new

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """What a query finds, as plain dictionaries."""
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def head(self) -> str:
        """Hash of the newest link of the chain."""
        with self._engine.connect() as connection:
            return connection.scalar(sa.select(AUDIT.c.hash).order_by(AUDIT.c.seq.desc()).limit(1)) or GENESIS

    def verify(self) -> int:
        """Recompute the chain over every row; returns its length. Raises IntegrityError at a break."""
        with self._engine.connect() as connection:
            links = connection.execute(sa.select(AUDIT).order_by(AUDIT.c.seq)).all()
            rows = {
                (table.name, _key(table, dict(row._mapping))): _row_sha256(dict(row._mapping))
                for table in CHAINED
                for row in connection.execute(sa.select(table))
            }
        previous = GENESIS
        for number, link in enumerate(links, start=1):
            row_sha256 = rows.pop((link.table_name, link.row_key), None)
            expected = _link_hash(number, link.at, link.table_name, link.row_key, link.row_sha256, previous)
            if (link.seq, link.previous, link.hash) != (number, previous, expected):
                raise _broken(
                    f"link {number} ({link.table_name} {link.row_key}) does not follow the one before"
                )
            if row_sha256 != link.row_sha256:
                raise _broken(f"the row {link.table_name} {link.row_key} was changed or removed")
            previous = link.hash
        if rows:
            raise _broken(f"{len(rows)} rows that no link names, the first {next(iter(rows))}")
        return len(links)

    def _is_new(self, connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
        same = sa.and_(*(column == row[column.name] for column in table.primary_key))
        existing = connection.execute(sa.select(table).where(same)).first()
        if existing and table is DECISIONS and existing.document != row["document"]:
            raise IntegrityError(
                f"one decision for run {row['run_id']}",
                "another one already in the ledger",
                "A decision stands for good: run the night again under a new run id.",
            )
        return existing is None

    def _link(self, connection: sa.Connection, table: sa.Table, *rows: dict[str, Any]) -> None:
        last = connection.execute(sa.select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(1)).first()
        length, previous = (last.seq, last.hash) if last else (0, GENESIS)
        at, links = datetime.now(UTC).isoformat(), []
        for seq, row in enumerate(rows, start=length + 1):
            key, row_sha256 = _key(table, row), _row_sha256(row)
            link_hash = _link_hash(seq, at, table.name, key, row_sha256, previous)
            values = {"seq": seq, "at": at, "table_name": table.name, "row_key": key}
            links.append({**values, "row_sha256": row_sha256, "previous": previous, "hash": link_hash})
            previous = link_hash
        connection.execute(AUDIT.insert(), links)

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        """One writer at a time: the chain has one end."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection


def exists(url: str) -> bool:
    """Whether there is a database at an SQLAlchemy URL; one on a server is taken to be there."""
    location = sa.make_url(url)
    return location.get_backend_name() != "sqlite" or Path(location.database or "").exists()


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


def _decision(row: Any) -> Decision:
    document = json.loads(row.document)
    return Decision(
        run_id=row.run_id,
        night=date.fromisoformat(row.night),
        outcome=row.outcome,
        reasons=tuple(document["reasons"]),
        facts=document["facts"],
        evidence=document["evidence"],
        document=row.document,
        signature=row.signature,
    )


def _promotion(row: Any) -> Promotion:
    fields = dict(row._mapping)
    return Promotion(
        **{**fields, "route": route_from(json.loads(row.route)), "evidence": json.loads(row.evidence)}
    )


def _key(table: sa.Table, row: dict[str, Any]) -> str:
    return "|".join(str(row[column.name]) for column in table.primary_key)


def _row_sha256(row: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(row)).hexdigest()


def _link_hash(*parts: Any) -> str:
    return hashlib.sha256(canonical_json([str(part) for part in parts])).hexdigest()


def _broken(found: str) -> IntegrityError:
    return IntegrityError(
        "an unbroken ledger", found, "Compare with a backup: somebody wrote to the database by hand."
    )
