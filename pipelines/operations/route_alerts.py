"""Routing: read the inbox, rule on what came, say what is to be started and who is to be told.

The rulings are in the ledger before anything is started. Each run's id is made from its ruling, so a routing
that broke off anywhere is made good by the next: a run that left no trace is asked for again, and is one run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from pipelines.core.alerts import SEVERITIES, Action, Cause, Ruling
from pipelines.core.config import Config
from pipelines.core.locks import holding
from pipelines.core.results import Notice, RoutingResult, RunToStart
from pipelines.policy.alerts.arbitration import Situation, horizon, route
from pipelines.policy.alerts.firing import episodes, firing
from pipelines.stores import open_ledger
from pipelines.stores.inbox import Inbox
from pipelines.stores.journal.writer import awaits_delivery
from pipelines.stores.ledger import Ledger, Promotion
from pipelines.stores.ledger.tables import TASK_EVENTS

PRODUCTION = "production"  # the move that makes a candidate production
ROUTER = ("alert_router", "route")  # the DAG and the task that route under Airflow
TOLD = {Action.PAGE: "Alert", Action.SCALE: "Overload", Action.ROLLBACK: "Rollback"}  # people hear of these
SHOWN_NAMES, SHOWN_ALERTS = 3, 5


def route_now(config: Config) -> tuple[list[Ruling], RoutingResult]:
    """Rule on every unruled delivery; returns the new rulings and what is to be done. One at a time."""
    with holding(config.home, "alerts"):
        ledger, now = open_ledger(config), datetime.now(UTC)
        inbox = Inbox(ledger)
        known = situation(config, ledger, now)
        rulings = route(known, config.alerts)
        inbox.add_rulings(rulings)
        recent = [*known.rulings, *rulings]
        return rulings, RoutingResult(
            headline=f"{len(known.unruled)} deliveries, {len(rulings)} rulings",
            start=tuple(_run(config, ledger, ruling) for ruling in _unstarted(config, inbox, recent, now)),
            tell=tuple(_notice(ruling) for ruling in _untold(config, ledger, recent, now)),
        )


def situation(config: Config, ledger: Ledger, now: datetime) -> Situation:
    """All that the policy needs to know."""
    inbox, since = Inbox(ledger), horizon(now, config.alerts)
    unruled = inbox.unruled()
    deliveries = inbox.deliveries(since)
    return Situation(
        now=now,
        deliveries=deliveries,
        unruled=unruled,
        rulings=inbox.rulings(since, {delivery.id: delivery.alerts for delivery in deliveries}),
        silences=inbox.silences(now),
        promoted_at=promoted_at(ledger.promotions()),
    )


def promoted_at(moves: Sequence[Promotion]) -> datetime | None:
    """When production changed to what it is, where a rollback would undo that and no more.

    None after a rollback, and in a canary, which the judge watches.
    """
    if not moves or moves[-1].route.canary or not moves[-1].route.has_previous:
        return None
    return max(datetime.fromisoformat(move.at) for move in moves if move.move == PRODUCTION)


def data_faults(config: Config, ledger: Ledger) -> list[str]:
    """Names of the data faults that fire now: they hold training."""
    now, expires_s = datetime.now(UTC), config.alerts.expires_s
    deliveries = Inbox(ledger).deliveries(now - timedelta(seconds=expires_s))
    fires = firing(episodes(deliveries, now, expires_s))
    return sorted({e.alert.name for e in fires if e.alert.cause is Cause.DATA_FAULT})


def _unstarted(config: Config, inbox: Inbox, rulings: Sequence[Ruling], now: datetime) -> list[Ruling]:
    since = now - timedelta(seconds=config.alerts.start_within_s)
    asked = [ruling for ruling in rulings if ruling.dag_run_id and ruling.at >= since]
    began = inbox.began(ruling.dag_run_id for ruling in asked)
    return [ruling for ruling in asked if ruling.dag_run_id not in began]


def _untold(config: Config, ledger: Ledger, rulings: Sequence[Ruling], now: datetime) -> list[Ruling]:
    """What was ruled since a routing under Airflow last ended well: rather told twice than never."""
    query = sa.select(sa.func.max(TASK_EVENTS.c.ended_at).label("at")).where(
        TASK_EVENTS.c.dag_id == ROUTER[0],
        TASK_EVENTS.c.task_id == ROUTER[1],
        TASK_EVENTS.c.state == "success",
    )
    (row,) = ledger.rows(query)
    since = now - timedelta(seconds=config.alerts.start_within_s)
    if row["at"]:
        since = max(since, datetime.fromisoformat(row["at"]))
    return [ruling for ruling in rulings if ruling.action in TOLD and ruling.at > since]


def _run(config: Config, ledger: Ledger, ruling: Ruling) -> RunToStart:
    cause = f"alert:{_short(ruling.names)}"
    conf = {"ruling": ruling.id, "traceparent": ruling.traceparent}
    if ruling.action is Action.RETRAIN:
        conf |= {"cause": cause} | _night(config, ledger, ruling.at.date())
    else:
        conf |= {"actor": cause, "reason": ruling.reason[:500]}
    return RunToStart(dag_id=ruling.dag_id, dag_run_id=ruling.dag_run_id, conf=conf)


def _night(config: Config, ledger: Ledger, today: date) -> dict[str, str]:
    """Whose interactions hold what an alert is about; nothing said is the last day that has ended.

    From the gateway's journal it is today so far; last night where that is still to be read, as the
    schedule comes later, and then finds it done. The sample's days are not the calendar's.
    """
    if config.ingest.kind == "gateway":
        yesterday = today - timedelta(days=1)
        is_due = bool(config.schedule) and awaits_delivery(config.home, yesterday)
        return {"night": str(yesterday if is_due else today)}
    if config.ingest.kind == "sample":
        return {"night": str(config.sample.next_night(decision.night for decision in ledger.decisions()))}
    return {}


def _notice(ruling: Ruling) -> Notice:
    """Why, then a line for each alert, the critical ones first."""
    subject = f"{TOLD[ruling.action]} ({ruling.cause}): {_short(ruling.names)}"
    alerts = sorted(ruling.alerts, key=lambda alert: alert.severity != SEVERITIES[0])
    lines = [alert.described() for alert in alerts[:SHOWN_ALERTS]]
    if len(alerts) > SHOWN_ALERTS:
        lines.append(f"and {len(alerts) - SHOWN_ALERTS} more: `.venv/bin/python -m pipelines alerts-list`")
    return Notice(subject=subject, text="\n".join([ruling.reason, *lines]))


def _short(names: Sequence[str]) -> str:
    """A few names, of plain characters: they go into settings, folder names and mail subjects."""
    shown = ",".join(re.sub(r"[^\w.:-]", "_", name)[:60] for name in names[:SHOWN_NAMES])
    return shown + (f"+{len(names) - SHOWN_NAMES}" if len(names) > SHOWN_NAMES else "")
