"""The "Model loop" page as plain data: what was read goes in, what is shown comes out. Pure; no clock.

Every value of the model is text, a number, a list or a dictionary: the template prints it, and
`/model-loop/model.json` is the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from nightshift.page.alerts import alerts_of
from nightshift.page.links import ago, first_sentence, report_url, run_url, shown_time, version_url
from nightshift.page.nights import fates_of, nights_of
from nightshift.page.plots import drift_plots, quality_plot
from nightshift.page.rollout import Answered, live_of, rollout_of
from pipelines.core.facts.record import decision_facts

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Read:
    """What the page is made of. Rows are those of the ledger's tables, oldest first.

    `stages`: name and share of people. `runs`: a night's run id -> Airflow's. `allowed`: DAGs that this
    person may start. `failed`: runs that failed lately, newest first. `states`: of the runs that rulings
    started. `root` is Airflow's path prefix, `mlflow` the address of its pages, or empty.
    """

    now: datetime
    name: str
    stages: Sequence[tuple[str, float]]
    decisions: Sequence[Row] = ()
    promotions: Sequence[Row] = ()
    triggers: Sequence[Row] = ()
    rulings: Sequence[Row] = ()
    watches: Sequence[Row] = ()
    silences: Sequence[Row] = ()
    alert_expires_s: float = 86_400
    sample_night: str = ""  # the next one, where the sample is read
    answered: Sequence[Answered] = ()
    judge: Row | None = None
    approvals: Sequence[Row] = ()
    running: Sequence[Row] = ()
    failed: Sequence[Row] = ()
    states: Mapping[tuple[str, str], str] = field(default_factory=dict)
    watch_schedule: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()
    root: str = ""
    mlflow: str = ""


def page_model(read: Read) -> dict[str, Any]:
    """The whole page."""
    moves = [
        {**row, "route": json.loads(row["route"]), "evidence": json.loads(row["evidence"])}
        for row in read.promotions
    ]
    decisions = [_decided(row) for row in read.decisions]
    fates = fates_of(moves)
    return {
        "now": shown_time(read.now.isoformat()),
        "name": read.name,
        "empty": not (decisions or moves),
        "live": live_of(read, moves),
        "rollout": rollout_of(read, moves),
        "approvals": [_approval(read, row) for row in read.approvals],
        "running": [_running(read, row) for row in read.running],
        "failed": [_failed(read, row) for row in read.failed],
        "alerts": alerts_of(
            read.triggers,
            read.rulings,
            read.silences,
            read.now,
            read.alert_expires_s,
            lambda *run: run_url(read.root, *run),
            read.states,
        ),
        "nights": nights_of(decisions, fates, lambda decision: _links(read, decision)),
        "quality": quality_plot(decisions, fates),
        "drift": drift_plots(read.watches, decisions) | {"schedule": read.watch_schedule},
        "buttons": {
            dag: {"allowed": dag in read.allowed, "paused": dag in read.paused}
            for dag in ("nightly_retrain", "promote", "rollback")
        },
        "sample_night": read.sample_night,
        "root": read.root,
        "mlflow": read.mlflow,
    }


def _decided(row: Row) -> dict[str, Any]:
    """A decision's row with its document, the facts as a model."""
    document = json.loads(row["document"])
    return {**row, **document, "facts": decision_facts(document["facts"])}


def _approval(read: Read, row: Row) -> dict[str, Any]:
    run = run_url(read.root, row["dag_id"], row["run_id"])
    return {
        "subject": row["subject"],
        "ago": ago(row["at"], read.now),
        "url": f"{run}/tasks/{quote(row['task_id'], safe='')}/required_actions",
    }


def _running(read: Read, row: Row) -> dict[str, Any]:
    return {**row, "run": run_url(read.root, row["dag_id"], row["run_id"])}


def _failed(read: Read, row: Row) -> dict[str, Any]:
    return {
        **_running(read, row),
        "ago": ago(row["at"], read.now),
        "note": first_sentence(row["note"]),
    }


def _links(read: Read, decision: Row) -> dict[str, str]:
    """Where a night's decision leads on to; empty texts for what is not there."""
    run = read.runs.get(decision["run_id"])
    version = decision["facts"].registered_version
    return {
        "report": report_url(read.root, decision["run_id"]),
        "run": run_url(read.root, "nightly_retrain", run) if run else "",
        "mlflow": version_url(read.mlflow, read.name, {"version": version} if version else None),
    }
