"""Turns a snapshot into the page's model. Pure: it reads no clock.

The model holds texts, numbers, lists and dictionaries only. The template prints it, and
`/model-loop/model.json` returns it.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from nightshift.page.alerts import alerts_of
from nightshift.page.links import ago, first_sentence, report_url, run_url, shown_time, version_url
from nightshift.page.nights import fates_of, nights_of
from nightshift.page.plots import drift_plots, quality_plot
from nightshift.page.rollout import live_of, rollout_of
from nightshift.page.snapshot import Row, Snapshot
from pipelines.core.facts.record import decision_facts


def page_model(shown: Snapshot) -> dict[str, Any]:
    """The whole page."""
    moves = [
        {**row, "route": json.loads(row["route"]), "evidence": json.loads(row["evidence"])}
        for row in shown.promotions
    ]
    decisions = [_decided(row) for row in shown.decisions]
    fates = fates_of(moves)
    return {
        "now": shown_time(shown.now.isoformat()),
        "name": shown.name,
        "empty": not (decisions or moves),
        "live": live_of(shown, moves),
        "rollout": rollout_of(shown, moves),
        "approvals": [_approval(shown, row) for row in shown.approvals],
        "running": [_running(shown, row) for row in shown.running],
        "failed": [_failed(shown, row) for row in shown.failed],
        "alerts": alerts_of(
            shown.deliveries,
            shown.rulings,
            shown.silences,
            shown.now,
            shown.alert_expires_s,
            lambda *run: run_url(shown.root, *run),
            shown.states,
        ),
        "nights": nights_of(decisions, fates, lambda decision: _links(shown, decision)),
        "quality": quality_plot(decisions, fates),
        "drift": drift_plots(shown.watches, decisions) | {"schedule": shown.watch_schedule},
        "buttons": {
            dag: {"allowed": dag in shown.allowed, "paused": dag in shown.paused}
            for dag in ("nightly_retrain", "promote", "rollback")
        },
        "sample_night": shown.sample_night,
        "root": shown.root,
        "mlflow": shown.mlflow,
    }


def _decided(row: Row) -> dict[str, Any]:
    """A decision's row with its document, the facts as a model."""
    document = json.loads(row["document"])
    return {**row, **document, "facts": decision_facts(document["facts"])}


def _approval(shown: Snapshot, row: Row) -> dict[str, Any]:
    run = run_url(shown.root, row["dag_id"], row["run_id"])
    return {
        "subject": row["subject"],
        "ago": ago(row["at"], shown.now),
        "url": f"{run}/tasks/{quote(row['task_id'], safe='')}/required_actions",
    }


def _running(shown: Snapshot, row: Row) -> dict[str, Any]:
    return {**row, "run": run_url(shown.root, row["dag_id"], row["run_id"])}


def _failed(shown: Snapshot, row: Row) -> dict[str, Any]:
    return {
        **_running(shown, row),
        "ago": ago(row["at"], shown.now),
        "note": first_sentence(row["note"]),
    }


def _links(shown: Snapshot, decision: Row) -> dict[str, str]:
    """Addresses of a night's report, run and registered version; empty for what is not there."""
    run = shown.runs.get(decision["run_id"])
    version = decision["facts"].registered_version
    return {
        "report": report_url(shown.root, decision["run_id"]),
        "run": run_url(shown.root, "nightly_retrain", run) if run else "",
        "mlflow": version_url(shown.mlflow, shown.name, {"version": version} if version else None),
    }
