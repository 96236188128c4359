"""Open alerts, from the inbox of deliveries and what the router ruled on them. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from nightshift.page.links import shown_time

Row = Mapping[str, Any]
MOST_RULINGS = 8


def alerts_of(
    triggers: Sequence[Row],
    rulings: Sequence[Row],
    silences: Sequence[Row],
    now: datetime,
    expires_s: float,
    run_url: Callable[[str, str], str],
    states: Mapping[tuple[str, str], str],
) -> dict[str, Any]:
    """`open`: alerts whose newest delivery says firing, newest first. `rulings`: the newest ones.

    As for the router, one that nobody repeated for `expires_s` is over. `states`: (DAG, run) -> how the run
    does, as far as Airflow knows it.
    """
    newest: dict[str, dict[str, Any]] = {}
    for row in triggers:
        if datetime.fromisoformat(row["received_at"]) < now - timedelta(seconds=expires_s):
            continue
        for alert in json.loads(row["alerts"]):
            newest[alert["fingerprint"]] = {**alert, "delivery": row["id"]}
    by_delivery = {trigger: ruling for ruling in rulings for trigger in json.loads(ruling["triggers"])}
    shown = [_ruling(row, run_url, states) for row in list(rulings)[::-1][:MOST_RULINGS]]
    quiet = [silence for silence in silences if datetime.fromisoformat(silence["until"]) > now]
    return {
        "open": [
            {
                "name": alert["name"],
                "severity": alert["severity"],
                "cause": alert["cause"],
                "summary": alert["annotations"].get("summary", ""),
                "runbook": _http(alert["annotations"].get("runbook", "")),
                "since": shown_time(alert["starts_at"]),
                "ruling": _ruling(by_delivery[alert["delivery"]], run_url, states)
                if alert["delivery"] in by_delivery
                else None,
                "silenced": next((_silence(one) for one in quiet if _matches(one, alert)), ""),
            }
            for alert in reversed(newest.values())
            if alert["status"] == "firing"
        ],
        "rulings": shown,
    }


def _ruling(
    row: Row, run_url: Callable[[str, str], str], states: Mapping[tuple[str, str], str]
) -> dict[str, str]:
    return {
        "at": shown_time(row["at"]),
        "cause": row["cause"],
        "action": row["action"],
        "reason": row["reason"],
        "run": run_url(row["dag_id"], row["dag_run_id"]) if row["dag_id"] and row["dag_run_id"] else "",
        "state": states.get((row["dag_id"], row["dag_run_id"]), ""),
    }


def _silence(row: Row) -> str:
    return f"silenced until {shown_time(row['until'])} by {row['actor']}: {row['reason']}"


def _matches(silence: Row, alert: Row) -> bool:
    """As `pipelines.core.alerts` has it: every pattern has to fit the alert's label."""
    labels = {**alert["labels"], **{key: alert[key] for key in ("name", "cause", "severity")}}
    return all(
        fnmatchcase(labels.get(key, ""), text) for key, text in json.loads(silence["matchers"]).items()
    )


def _http(link: str) -> str:
    """A link as it came, if it is one that a page may carry: never `javascript:`."""
    return link if link.startswith(("https://", "http://")) else ""
