"""Gauges of the loop itself, from the ledger: DAG runs, nights and costs."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.observability.metrics_push import Sample
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import COSTS, DECISIONS, TASK_EVENTS

DAYS = 30
HELP = {
    "nightshift_cost_30d": "what the steps of the last 30 days cost, in the label's currency",
    "nightshift_cpu_hours_30d": "CPU hours of the steps of the last 30 days",
    "nightshift_gpu_hours_30d": "GPU hours of the steps of the last 30 days",
    "nightshift_cpu_hours_budget_30d": "decide.budget_cpu_hours_30d",
    "nightshift_gpu_hours_budget_30d": "decide.budget_gpu_hours_30d",
    "nightshift_nights_30d": "nights of the last 30 days by their outcome",
    "nightshift_dag_open_seconds": "age of the oldest DAG run that has begun and not ended",
    "nightshift_dag_run_seconds": "length of the newest DAG run that has ended",
    "nightshift_dag_last_end_timestamp_seconds": "when a DAG run last ended in this state",
}


def loop_samples(ledger: Ledger, config: Config, now: datetime) -> list[Sample]:
    """Costs and nights of the last 30 days; DAG runs by the events that Airflow's listener wrote."""
    since = (now - timedelta(days=DAYS)).date().isoformat()
    return [*_costs(ledger, config, since), *_nights(ledger, since), *_runs(ledger, now)]


def _costs(ledger: Ledger, config: Config, since: str) -> list[Sample]:
    sums = [
        sa.func.coalesce(sa.func.sum(COSTS.c[name]), 0.0).label(name)
        for name in ("cpu_seconds", "gpu_seconds")
    ]
    recent = COSTS.c.night >= since
    used = ledger.rows(sa.select(*sums).where(recent))[0]
    amounts = sa.select(COSTS.c.currency, sa.func.sum(COSTS.c.amount).label("amount"))
    paid = ledger.rows(amounts.where(recent).group_by(COSTS.c.currency))
    return [
        *(Sample("nightshift_cost_30d", row["amount"], {"currency": row["currency"]}) for row in paid),
        Sample("nightshift_cpu_hours_30d", used["cpu_seconds"] / 3600),
        Sample("nightshift_gpu_hours_30d", used["gpu_seconds"] / 3600),
        Sample("nightshift_cpu_hours_budget_30d", config.decide.budget_cpu_hours_30d),
        Sample("nightshift_gpu_hours_budget_30d", config.decide.budget_gpu_hours_30d),
    ]


def _nights(ledger: Ledger, since: str) -> list[Sample]:
    rows = ledger.rows(sa.select(DECISIONS.c.outcome).where(DECISIONS.c.night >= since))
    outcomes = Counter(row["outcome"] for row in rows)
    return [
        Sample("nightshift_nights_30d", count, {"outcome": outcome}) for outcome, count in outcomes.items()
    ]


def _runs(ledger: Ledger, now: datetime) -> list[Sample]:
    """A run begins with its first task, and ends with the event that names no task."""
    query = sa.select(
        TASK_EVENTS.c.dag_id,
        TASK_EVENTS.c.run_id,
        sa.func.min(TASK_EVENTS.c.started_at).label("began"),
        sa.func.max(sa.case((TASK_EVENTS.c.task_id == "", TASK_EVENTS.c.ended_at))).label("ended"),
        sa.func.max(sa.case((TASK_EVENTS.c.task_id == "", TASK_EVENTS.c.state))).label("state"),
    ).group_by(TASK_EVENTS.c.dag_id, TASK_EVENTS.c.run_id)
    by_dag: dict[str, list[dict[str, Any]]] = {}
    for row in ledger.rows(query):
        if row["began"]:
            by_dag.setdefault(row["dag_id"], []).append(row)
    return [sample for dag_id, runs in sorted(by_dag.items()) for sample in _of_dag(dag_id, runs, now)]


def _of_dag(dag_id: str, runs: list[dict[str, Any]], now: datetime) -> list[Sample]:
    label = {"dag_id": dag_id}
    open_since = min((datetime.fromisoformat(run["began"]) for run in runs if not run["state"]), default=now)
    samples = [Sample("nightshift_dag_open_seconds", max(0.0, (now - open_since).total_seconds()), label)]
    ended = sorted(
        (run for run in runs if run["ended"]), key=lambda run: datetime.fromisoformat(run["ended"])
    )
    if ended:
        length = datetime.fromisoformat(ended[-1]["ended"]) - datetime.fromisoformat(ended[-1]["began"])
        samples.append(Sample("nightshift_dag_run_seconds", length.total_seconds(), label))
    last = {run["state"]: datetime.fromisoformat(run["ended"]).timestamp() for run in ended}
    name = "nightshift_dag_last_end_timestamp_seconds"
    return samples + [Sample(name, at, {**label, "state": state}) for state, at in last.items()]
