"""The ledger: who changed what, when, from what, and why, as typed rows of the chained tables."""

from __future__ import annotations

import itertools
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from pipelines.core.traffic_split import Route
from pipelines.stores.ledger import anchors, chain, costs, decisions, promotions, tasks
from pipelines.stores.ledger.anchors import Anchor
from pipelines.stores.ledger.chained_tables import ChainedTables, storable_row
from pipelines.stores.ledger.decisions import Decision
from pipelines.stores.ledger.promotions import START, Promotion
from pipelines.stores.ledger.tables import ANCHORS, COSTS, DECISIONS, PROMOTIONS, TASK_EVENTS


class Ledger(ChainedTables):
    """Decisions, promotions, costs and Airflow's tasks."""

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
        row = storable_row(
            promotions.promotion_row(after, move, route, reason, actor, run_id, evidence or {})
        )

        def write(connection: sa.Connection) -> None:
            if promotions.is_recorded(connection, row):  # the server took it, and its answer was lost
                return
            promotions.refuse_stale(connection, after)
            connection.execute(PROMOTIONS.insert().values(**row))
            chain.link(connection, PROMOTIONS, row)

        self.write(write)
        return self.promotion()

    def promotion(self) -> Promotion:
        """The newest move: its route says who answers users now."""
        rows = self.rows(promotions.NEWEST)
        return promotions.promotion_from(rows[0]) if rows else START

    def promotions(self) -> list[Promotion]:
        """Every move, oldest first."""
        return [promotions.promotion_from(row) for row in self.rows(promotions.OLDEST_FIRST)]

    def add_anchor(self, version: str, digest: str, actor: str, reason: str) -> None:
        """Record which version candidates are compared with from now on; an empty one for none."""
        self.append(ANCHORS, anchors.anchor_row(version, digest, actor, reason))

    def anchor(self) -> Anchor | None:
        """The newest choice; None where people never chose."""
        rows = self.rows(anchors.NEWEST)
        return Anchor(**{name: rows[0][name] for name in rows[0] if name != "id"}) if rows else None

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
