"""Reads the snapshot of the page: from the ledger, the gateway's journal and Airflow's own database.

It never writes. A source that is not there yet is empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from nightshift.local import instance
from nightshift.page import airflow as page_airflow
from nightshift.page.airflow import DAGS, FAILING
from nightshift.page.snapshot import Row, Snapshot
from nightshift.settings import Settings
from pipelines.core.config import Config
from pipelines.core.traffic_split import route_from
from pipelines.stores import open_journal
from pipelines.stores.journal.comparison import Outcome

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

TABLES = {  # of the ledger: the column by which a table is sorted, and how many of its newest rows are read
    "decisions": ("night", None),
    "promotions": ("number", None),
    "triggers": ("received_at", 2_000),
    "rulings": ("at", 500),
    "watches": ("at", 720),
    "silences": ("at", 200),
}
MOST_ANSWERS = 10_000  # the newest ones, so that a long stage does not slow the page down
May = Callable[[Literal["GET", "POST"], str], bool]


def read_all(settings: Settings, session: Session, may: May, root: str, now: datetime) -> Snapshot:
    """`may(method, DAG)` says what this person may do. What they may not see is left out."""
    from pipelines.stores.held_move import held_move
    from pipelines.stores.inbox import delivery_from, in_force

    config = settings.config
    ledger = read_ledger(config.path(config.ledger_url))
    seen = [dag for dag in DAGS if may("GET", dag)]
    promotions, rulings = ledger["promotions"], ledger["rulings"]
    return Snapshot(
        now=now,
        name=config.register_.name,
        stages=[(stage.name, stage.weight) for stage in config.promote.stages],
        decisions=ledger["decisions"],
        promotions=promotions,
        held_move=held_move(config, promotions[-1]["number"]) if promotions else "",
        deliveries=[delivery_from(row) for row in ledger["triggers"]],
        rulings=rulings,
        watches=ledger["watches"],
        silences=in_force(ledger["silences"], now.isoformat(timespec="microseconds")),
        alert_expires_s=config.alerts.expires_s,
        sample_night=_sample_night(config, ledger["decisions"]),
        outcomes=_outcomes(config, promotions),
        analysis=page_airflow.analysis(session, promotions) if "promote" in seen else None,
        approvals=page_airflow.approvals(session, seen),
        running=page_airflow.running(session, seen),
        failed=page_airflow.failed(session, [dag for dag in FAILING if may("GET", dag)], now),
        states=page_airflow.states(session, seen, rulings),
        watch_schedule=config.watch.schedule,
        runs=page_airflow.runs(session),
        allowed=frozenset(dag for dag in DAGS if may("POST", dag)),
        paused=page_airflow.paused(session),
        root=root,
        mlflow=_mlflow(settings),
    )


def _mlflow(settings: Settings) -> str:
    """The address of MLflow's pages: on this machine, or the tracking server's; empty without either."""
    machine, uri = instance.running(settings), settings.config.tracking_uri
    if machine and machine.mlflow_port:
        return machine.mlflow_url
    return uri.rstrip("/") if uri.startswith("http") else ""


def _sample_night(config: Config, decisions: Sequence[Row]) -> str:
    night = config.sample.next_night(date.fromisoformat(row["night"]) for row in decisions)
    return str(night) if config.ingest.kind == "sample" and config.sample.has(night) else ""


def read_ledger(url: str) -> dict[str, list[dict[str, Any]]]:
    """Rows by table, oldest first."""
    from pipelines.stores.ledger.reading import read_rows
    from pipelines.stores.ledger.tables import META

    queries = [
        META.tables[name].select().order_by(META.tables[name].c[column].desc()).limit(most)
        for name, (column, most) in TABLES.items()
    ]
    return {name: rows[::-1] for name, rows in zip(TABLES, read_rows(url, *queries), strict=True)}


def _outcomes(config: Config, promotions: Sequence[Row]) -> list[Outcome]:
    """The candidate's outcomes and production's since the candidate came into its kind of stage."""
    routes = [route_from(json.loads(row["route"])) for row in promotions]
    candidate = routes[-1].in_rollout if routes else None
    if candidate is None:
        return []
    kind = "canary" if routes[-1].canary else "shadow"
    first = len(routes) - 1
    while first and getattr(routes[first - 1], kind) == candidate:
        first -= 1
    since = datetime.fromisoformat(promotions[first]["at"])
    return open_journal(config).newest_outcomes(since, candidate, routes[-1].production, MOST_ANSWERS)
