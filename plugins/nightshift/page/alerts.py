"""Open alerts: the deliveries in the inbox, and what was decided on each. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from nightshift.page.links import shown_time
from nightshift.page.snapshot import Row
from pipelines.core.alerts import Alert, Delivery, Silence, silenced

MOST_RULINGS = 8


def alerts_of(
    deliveries: Sequence[Delivery],
    rulings: Sequence[Row],
    silences: Sequence[Silence],
    now: datetime,
    expires_s: float,
    run_url: Callable[[str, str], str],
    states: Mapping[tuple[str, str], str],
) -> dict[str, Any]:
    """`open`: alerts whose newest delivery says that they fire, newest first. `rulings`: the newest ones.

    As for the router, an alert that nobody repeated for `expires_s` seconds is over. `states` maps (DAG, run)
    to the state of the run, for those that Airflow knows.
    """

    def shown(row: Row) -> dict[str, str]:
        run = (row["dag_id"], row["dag_run_id"])
        return {
            "at": shown_time(row["at"]),
            "cause": row["cause"],
            "action": row["action"],
            "reason": row["reason"],
            "run": run_url(*run) if all(run) else "",
            "state": states.get(run, ""),
        }

    by_delivery = {trigger: ruling for ruling in rulings for trigger in json.loads(ruling["triggers"])}
    return {
        "open": [
            {
                "name": alert.name,
                "severity": alert.severity,
                "cause": alert.cause.value,
                "summary": alert.annotations.get("summary", ""),
                "runbook": _http(alert.annotations.get("runbook", "")),
                "since": shown_time(alert.starts_at.isoformat()),
                "ruling": shown(by_delivery[delivery]) if delivery in by_delivery else None,
                "silenced": _silenced(alert, silences),
            }
            for delivery, alert in _firing(deliveries, now - timedelta(seconds=expires_s))
        ],
        "rulings": [shown(row) for row in list(rulings)[::-1][:MOST_RULINGS]],
    }


def _firing(deliveries: Sequence[Delivery], since: datetime) -> list[tuple[str, Alert]]:
    """Each series that fires, with the id of the newest delivery that says so, newest first."""
    newest: dict[str, tuple[str, Alert]] = {}
    for delivery in deliveries:
        if delivery.received_at >= since:
            newest |= {alert.fingerprint: (delivery.id, alert) for alert in delivery.alerts}
    return [found for found in reversed(newest.values()) if found[1].ends_at is None]


def _silenced(alert: Alert, silences: Sequence[Silence]) -> str:
    """By whom, why and until when the alert is silenced; empty where it is not."""
    for silence in silences:
        if silenced(alert, [silence]):
            until = shown_time(silence.until.isoformat())
            return f"silenced until {until} by {silence.actor}: {silence.reason}"
    return ""


def _http(link: str) -> str:
    """The link, if it is one that a page may carry: never `javascript:`."""
    return link if link.startswith(("https://", "http://")) else ""
