"""Rows of the ledger in numbers, for pages and benchmarks. Needs no ML library."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

OUTCOMES = ("trained", "skipped", "skipped", "held", "trained", "rejected", "skipped")
REASONS = {
    "trained": ("department-router version {} is the candidate", "212 labelled rows; 120 are enough."),
    "skipped": ("decide: 61 labelled rows are new, 120 are needed, and nothing drifted.",),
    "held": ("validate: 31% of the rows are in quarantine, 20% are allowed.",),
    "rejected": ("gate: accuracy -0.012 (at least -0.061 at tonight's level), +0.02 is asked",),
}


def decision(night: str, outcome: str, *reasons: str, run_id: str = "", **facts: Any) -> dict[str, Any]:
    """A decision's document. One that got to `evaluate` has an accuracy."""
    day = date.fromisoformat(night).toordinal() - date(2026, 1, 1).toordinal()
    facts = {"cause": "schedule", "drift": day % 31 == 8, **facts}
    if outcome in ("trained", "rejected"):
        value = 0.45 + 0.12 * math.sin(day / 60) + (0.02 if outcome == "trained" else -0.05)
        around = {"production": value - 0.03, "candidate": value}
        facts["accuracy"] = {
            side: {"value": mid, "low": mid - 0.06, "high": mid + 0.06} for side, mid in around.items()
        }
    return {
        "run_id": run_id or night,
        "night": night,
        "outcome": outcome,
        "decided_at": f"{night}T02:07:00+00:00",
        "reasons": [words.format(facts.get("registered_version")) for words in reasons or REASONS[outcome]],
        "facts": facts,
        "evidence": {"decide": "0" * 64},
        "ledger_head": "0" * 64,
    }


def rows_of(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `decisions`."""
    return [
        {key: document[key] for key in ("run_id", "night", "outcome")}
        | {"document": json.dumps(document, sort_keys=True, separators=(",", ":")), "signature": "s"}
        for document in documents
    ]


def many_nights(count: int, first: date = date(2026, 1, 2)) -> list[dict[str, Any]]:
    """Documents of that many nights in a row; versions count up from 2."""
    made, version = [], 1
    for place in range(count):
        outcome = OUTCOMES[place * 5 % len(OUTCOMES)]
        version += outcome == "trained"
        facts = {"registered_version": str(version)} if outcome == "trained" else {}
        made.append(decision(str(first + timedelta(days=place)), outcome, **facts))
    return made


def watches(count: int) -> list[dict[str, Any]]:
    """Hourly looks at live traffic, the last of which found drift."""
    made, end = [], datetime(2026, 11, 20, tzinfo=UTC)
    for place in range(count):
        at = end + timedelta(hours=place)
        drifted = place >= count - 3
        metrics = {
            "columns": [{"column": "wanted_label", "drifted": drifted, "effect": 0.31 if drifted else 0.02}],
            "nightshift_watch_negative_feedback_ratio": 0.2
            + 0.02 * math.sin(place)
            + (0.15 if drifted else 0),
            "nightshift_watch_latency_p99_seconds": 0.41 + 0.05 * math.sin(place / 3),
        }
        made.append(
            {"id": at.strftime("%Y-%m-%dT%H"), "at": at.isoformat(), "window_end": at.isoformat()}
            | {"window_start": (at - timedelta(hours=1)).isoformat(), "report": ""}
            | {"verdict": "alarm" if drifted else "quiet", "metrics": json.dumps(metrics)}
            | {"reasons": json.dumps(["wanted_label moved (effect 0.31)"] if drifted else [])}
        )
    return made


def alert(name: str, status: str = "firing", **fields: Any) -> dict[str, Any]:
    """One alert of a delivery."""
    usual = {"severity": "warning", "cause": "drift", "labels": {}}
    usual |= {"annotations": {"summary": "Users ask differently."}}
    times = {"starts_at": "2026-11-23T10:02:00+00:00"}
    times["ends_at"] = "2026-11-23T11:02:00+00:00" if status == "resolved" else ""
    return {"name": name, "status": status, "fingerprint": name, **usual, **times, **fields}


def delivery(number: int, *alerts: dict[str, Any]) -> dict[str, Any]:
    """A row of `triggers`."""
    at = (datetime.now(UTC) - timedelta(minutes=30 - number)).isoformat()
    row = {"id": f"delivery-{number}", "received_at": at, "source": "alertmanager", "sender": "prometheus"}
    return {**row, "alerts": json.dumps(alerts), "traceparent": ""}


def ruling(
    number: int, cause: str, action: str, reason: str, *triggers: str, run: str = ""
) -> dict[str, Any]:
    """A row of `rulings`."""
    at = (datetime.now(UTC) - timedelta(minutes=30 - number)).isoformat()
    row = {"id": f"ruling-{number}", "at": at, "cause": cause, "action": action, "reason": reason}
    started = {"dag_id": "nightly_retrain" if run else "", "dag_run_id": run, "traceparent": ""}
    return {**row, "triggers": json.dumps(triggers), **started}
