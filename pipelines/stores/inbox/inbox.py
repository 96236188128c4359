"""Reads and writes the inbox of a ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from pipelines.core.alerts import Alert, Delivery, Ruling, Silence
from pipelines.stores.inbox.rows import (
    as_text,
    delivery_from,
    in_force,
    ruling_from,
    ruling_row,
    silence_row,
)
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import RULINGS, SILENCES, TASK_EVENTS, TRIGGERS
from pipelines.stores.sql.database import POSTGRES, SQLITE


class json_texts(GenericFunction[Any]):
    """The texts of a JSON list, one row each."""

    inherit_cache = True


@compiles(json_texts, SQLITE)
def _in_sqlite(function: Any, compiler: Any, **more: Any) -> str:
    return f"json_each{compiler.process(function.clauses.self_group(), **more)}"


@compiles(json_texts, POSTGRES)
def _in_postgresql(function: Any, compiler: Any, **more: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(function.clauses, **more)} AS json))"


NAMED = sa.func.json_texts(RULINGS.c.triggers).table_valued("value")
UNRULED = TRIGGERS.c.id.not_in(sa.select(NAMED.c.value).select_from(RULINGS.join(NAMED, sa.true())))
ALL_SILENCES = sa.select(SILENCES).order_by(SILENCES.c.at)


class Inbox:
    """The deliveries, rulings and silences of a ledger.

    Every method raises SQLAlchemy's OperationalError while the ledger is locked for too long.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def deliver(self, *deliveries: Mapping[str, Any]) -> list[bool]:
        """Store deliveries (rows that `delivery_row` made), each once; returns which of them were new."""
        return self._ledger.append(TRIGGERS, *(dict(row) for row in deliveries))

    def unruled(self) -> frozenset[str]:
        """Ids of the deliveries that no ruling names."""
        return frozenset(row["id"] for row in self._ledger.rows(sa.select(TRIGGERS.c.id).where(UNRULED)))

    def head(self) -> str:
        """A text that changes with every write to the ledger."""
        return self._ledger.head()

    def waiting(self) -> int:
        """How many deliveries are unruled."""
        (row,) = self._ledger.rows(sa.select(sa.func.count().label("number")).where(UNRULED))
        return int(row["number"])

    def newest(self, within_s: float) -> str:
        """When the newest delivery came; empty if that is more than `within_s` seconds ago."""
        (row,) = self._ledger.rows(sa.select(sa.func.max(TRIGGERS.c.received_at).label("at")))
        oldest = as_text(datetime.now(UTC) - timedelta(seconds=within_s))
        return row["at"] if row["at"] and row["at"] > oldest else ""

    def deliveries(self, since: datetime) -> list[Delivery]:
        """Those received since then, and every unruled one, oldest first."""
        wanted = sa.or_(TRIGGERS.c.received_at >= as_text(since), UNRULED)
        query = sa.select(TRIGGERS).where(wanted).order_by(TRIGGERS.c.received_at, TRIGGERS.c.id)
        return [delivery_from(row) for row in self._ledger.rows(query)]

    def add_rulings(self, rulings: Sequence[Ruling]) -> None:
        """Store the rulings of one dispatch, all or none."""
        self._ledger.append(RULINGS, *map(ruling_row, rulings))

    def rulings(self, since: datetime, alerts: Mapping[str, Sequence[Alert]]) -> list[Ruling]:
        """Rulings since then, oldest first; `alerts` are those of each delivery, by its id."""
        query = sa.select(RULINGS).where(RULINGS.c.at >= as_text(since)).order_by(RULINGS.c.at, RULINGS.c.id)
        silences = self._ledger.rows(ALL_SILENCES)
        return [ruling_from(row, alerts, in_force(silences, row["at"])) for row in self._ledger.rows(query)]

    def began(self, dag_run_ids: Iterable[str]) -> set[str]:
        """Which of these DAG runs left a trace in the task history."""
        query = sa.select(TASK_EVENTS.c.run_id).where(TASK_EVENTS.c.run_id.in_(list(dag_run_ids))).distinct()
        return {row["run_id"] for row in self._ledger.rows(query)}

    def add_silence(self, silence: Silence, at: datetime) -> None:
        """Store a silence. One of the same matchers that is over at once ends an earlier one."""
        self._ledger.append(SILENCES, silence_row(silence, at))

    def silences(self, now: datetime) -> list[Silence]:
        """The silences in force."""
        return in_force(self._ledger.rows(ALL_SILENCES), as_text(now))
