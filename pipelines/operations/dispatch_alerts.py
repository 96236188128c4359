"""Dispatch of alerts: rule on what the inbox holds, and say which runs to start and whom to notify.

The rulings are in the ledger before anything is started. A run's id is made from its ruling, so the next
dispatch makes good one that broke off: it asks again for each run that left no trace, and that is one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from pipelines.core.alerts import Action, Ruling
from pipelines.core.config import Config
from pipelines.core.results import RoutingResult, RunToStart
from pipelines.operations.alert_notices import SUBJECTS, notice_of, short_list
from pipelines.operations.awaited_delivery import awaits_delivery
from pipelines.policy.alerts.arbitration import AlertState, horizon, rule_on
from pipelines.stores import open_ledger
from pipelines.stores.inbox import Inbox
from pipelines.stores.ledger import Ledger, Promotion
from pipelines.stores.ledger.tables import TASK_EVENTS
from pipelines.stores.locks import holding

PRODUCTION = "production"  # the move that makes a candidate production
DISPATCH_TASK = ("alert_router", "route")  # DAG and task that dispatch under Airflow


def dispatch(config: Config) -> tuple[list[Ruling], RoutingResult]:
    """Rule on every unruled delivery; returns the new rulings and what to do. One dispatch at a time."""
    with holding(config, "alerts"):
        ledger, now = open_ledger(config), datetime.now(UTC)
        state = read_state(config, ledger, now)
        rulings = rule_on(state, config.alerts)
        Inbox(ledger).add_rulings(rulings)
        recent = [*state.rulings, *rulings]
        return rulings, RoutingResult(
            headline=f"{len(state.unruled)} deliveries, {len(rulings)} rulings",
            start=tuple(_run(config, ledger, ruling) for ruling in _not_started(config, ledger, recent, now)),
            tell=tuple(notice_of(ruling) for ruling in _not_notified(config, ledger, recent, now)),
        )


def read_state(config: Config, ledger: Ledger, now: datetime) -> AlertState:
    """All that the rules look at."""
    inbox, since = Inbox(ledger), horizon(now, config.alerts)
    unruled = inbox.unruled()  # before the deliveries, so that they hold every one of them
    deliveries = inbox.deliveries(since)
    return AlertState(
        now=now,
        deliveries=deliveries,
        unruled=unruled,
        rulings=inbox.rulings(since, {delivery.id: delivery.alerts for delivery in deliveries}),
        silences=inbox.silences(now),
        promoted_at=promoted_at(ledger.promotions()),
    )


def promoted_at(moves: Sequence[Promotion]) -> datetime | None:
    """When production changed to what it is, if a rollback would undo that and nothing else.

    None after a rollback, and while a canary answers, which the analysis of the rollout watches.
    """
    if not moves or moves[-1].route.canary or not moves[-1].route.has_previous:
        return None
    return max(datetime.fromisoformat(move.at) for move in moves if move.move == PRODUCTION)


def _not_started(config: Config, ledger: Ledger, rulings: Sequence[Ruling], now: datetime) -> list[Ruling]:
    """Rulings of the last `start_within_s` whose run left no trace in the task history."""
    since = now - timedelta(seconds=config.alerts.start_within_s)
    asked = [ruling for ruling in rulings if ruling.dag_run_id and ruling.at >= since]
    began = Inbox(ledger).began(ruling.dag_run_id for ruling in asked)
    return [ruling for ruling in asked if ruling.dag_run_id not in began]


def _not_notified(config: Config, ledger: Ledger, rulings: Sequence[Ruling], now: datetime) -> list[Ruling]:
    """Rulings since Airflow's last dispatch that succeeded. A notice may be sent twice, but none is lost."""
    dag_id, task_id = DISPATCH_TASK
    query = sa.select(sa.func.max(TASK_EVENTS.c.ended_at).label("at")).where(
        TASK_EVENTS.c.dag_id == dag_id,
        TASK_EVENTS.c.task_id == task_id,
        TASK_EVENTS.c.state == "success",
    )
    (row,) = ledger.rows(query)
    since = now - timedelta(seconds=config.alerts.start_within_s)
    if row["at"]:
        since = max(since, datetime.fromisoformat(row["at"]))
    return [ruling for ruling in rulings if ruling.action in SUBJECTS and ruling.at > since]


def _run(config: Config, ledger: Ledger, ruling: Ruling) -> RunToStart:
    cause = f"alert:{short_list(ruling.names)}"
    conf = {"ruling": ruling.id, "traceparent": ruling.traceparent}
    if ruling.action is Action.RETRAIN:
        conf |= {"cause": cause} | _night(config, ledger, ruling.at.astimezone(config.ingest.zone).date())
    else:
        conf |= {"actor": cause, "reason": ruling.reason[:500]}
    return RunToStart(dag_id=ruling.dag_id, dag_run_id=ruling.dag_run_id, conf=conf)


def _night(config: Config, ledger: Ledger, today: date) -> dict[str, str]:
    """The night whose interactions an alert is about; without one, the DAG takes the last day that has ended.

    From the gateway's journal it is today so far, or yesterday while its delivery still waits to be read: the
    scheduled run then finds that night done. The sample has days of its own.
    """
    if config.ingest.kind == "gateway":
        yesterday = today - timedelta(days=1)
        is_due = bool(config.schedule) and awaits_delivery(config, yesterday)
        return {"night": str(yesterday if is_due else today)}
    if config.ingest.kind == "sample":
        return {"night": str(config.sample.next_night(decision.night for decision in ledger.decisions()))}
    return {}
