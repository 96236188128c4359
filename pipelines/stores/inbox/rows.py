"""Rows of the inbox: from what a sender delivered, and back to deliveries, rulings and silences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.core.alerts import (
    INFO,
    SEVERITIES,
    Action,
    Alert,
    Cause,
    Delivery,
    Ruling,
    Silence,
    each_once,
    silenced,
    unknown_cause,
)
from pipelines.core.contract import canonical_json, digest_of

Fields = Mapping[str, Any]
INCOMPLETE = "DeliveryIncomplete"  # the endpoint's own alert
OLDEST = datetime(1970, 1, 1, tzinfo=UTC)  # of a time that a sender means


def delivery_row(
    source: str,
    sender: str,
    alerts: Sequence[Fields],
    digest_parts: Sequence[bytes],
    traceparent: str,
    now: datetime,
) -> dict[str, Any]:
    """The row of a delivery. Its id is the sha256 of `digest_parts`: source, body and the sender's replay id.

    An alert has name, status, severity, cause, labels, annotations, starts_at, ends_at and fingerprint. A
    time after `now` counts as `now`: a sender's wrong clock must not keep an alert firing, or resolved. So
    does one before 1970: Go's zero time stands for none.
    """
    sha = hashlib.sha256()
    for part in (source.encode(), *digest_parts):
        sha.update(len(part).to_bytes(8) + part)
    return {
        "id": sha.hexdigest(),
        "received_at": as_text(now),
        "source": source,
        "sender": sender,
        "alerts": canonical_json([_alert_fields(alert, now) for alert in alerts]).decode(),
        "traceparent": traceparent,
    }


def warnings(alerts: Sequence[Fields]) -> list[str]:
    """What was accepted, but perhaps not as its sender meant it: unknown causes and severities."""
    causes = {alert["cause"] for alert in alerts} - set(Cause)
    severities = {alert["severity"] for alert in alerts} - set(SEVERITIES)
    return [
        *(f"{unknown_cause(cause)}: known are {', '.join(Cause)}" for cause in sorted(causes)),
        *(
            f"unknown severity {severity[:40]!r}, acted on like warning: known are {', '.join(SEVERITIES)}"
            for severity in sorted(severities)
        ),
    ]


def incomplete(source: str, sender: str, problem: str) -> dict[str, Any]:
    """The alert that is added to a delivery which does not hold all that happened: people hear of it."""
    return {
        "name": INCOMPLETE,
        "status": "firing",
        "severity": "warning",
        "cause": Cause.OPERATIONS.value,
        "labels": {"source": source, "sender": sender},
        "annotations": {},
        "starts_at": None,
        "ends_at": None,
        "fingerprint": digest_of([INCOMPLETE, source, sender])[:16],
        "problem": problem,
    }


def delivery_from(row: Fields) -> Delivery:
    """The delivery that a row holds."""
    alerts = tuple(_alert_from(fields) for fields in json.loads(row["alerts"]))
    return Delivery(row["id"], as_time(row["received_at"]), alerts, row["traceparent"])


def ruling_row(ruling: Ruling) -> dict[str, Any]:
    """The row of a ruling."""
    return {
        "id": ruling.id,
        "at": as_text(ruling.at),
        "cause": ruling.cause.value,
        "action": ruling.action.value,
        "reason": ruling.reason,
        "triggers": canonical_json(ruling.triggers).decode(),
        "dag_id": ruling.dag_id,
        "dag_run_id": ruling.dag_run_id,
        "traceparent": ruling.traceparent,
    }


def ruling_from(row: Fields, alerts: Mapping[str, Sequence[Alert]], silences: Sequence[Silence]) -> Ruling:
    """The ruling that a row holds, with the alerts that it acted on.

    `alerts`: those of each delivery, by its id. Resolved ones, those of severity `info` and those that
    `silences` covered at the time were not acted on.
    """
    triggers, cause = tuple(json.loads(row["triggers"])), Cause(row["cause"])
    of_cause = (a for trigger in triggers for a in alerts.get(trigger, ()) if a.cause is cause)
    fired = (alert for alert in of_cause if alert.ends_at is None and alert.severity != INFO)
    return Ruling(
        at=as_time(row["at"]),
        cause=cause,
        action=Action(row["action"]),
        reason=row["reason"],
        triggers=triggers,
        alerts=each_once(alert for alert in fired if not silenced(alert, silences)),
        traceparent=row["traceparent"],
    )


def silence_row(silence: Silence, at: datetime) -> dict[str, Any]:
    """The row of a silence that begins at a time."""
    row = {
        "at": as_text(at),
        "matchers": canonical_json(dict(silence.matchers)).decode(),
        "until": as_text(silence.until),
        "actor": silence.actor,
        "reason": silence.reason,
    }
    return {"id": digest_of(row)[:32], **row}


def in_force(rows: Iterable[Fields], at: str) -> list[Silence]:
    """The silences at a time, from rows in order of time; of the same matchers the newest row counts."""
    newest = {row["matchers"]: row for row in rows if row["at"] <= at}
    return [
        Silence(json.loads(row["matchers"]), as_time(row["until"]), row["actor"], row["reason"])
        for row in newest.values()
        if row["until"] > at
    ]


def as_text(at: datetime) -> str:
    """ISO 8601 in UTC, equally long for all times, so that the texts sort as the times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def as_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _alert_fields(alert: Fields, now: datetime) -> dict[str, Any]:
    """An alert as it is stored: known cause, times up to now, a fingerprint."""
    known = alert["cause"] in set(Cause)
    cause = alert["cause"] if known else Cause.OPERATIONS.value
    starts = _heard(alert["starts_at"], now)
    ends = max(
        starts, _heard(alert["ends_at"], now)
    )  # a resolved alert that ended before it began would fire on
    identity = {"name": alert["name"], "cause": cause, "labels": alert["labels"]}
    return {
        **alert,
        **({} if known else {"unknown_cause": alert["cause"]}),
        "cause": cause,
        "starts_at": as_text(starts),
        "ends_at": as_text(ends) if alert["status"] == "resolved" else "",
        "fingerprint": alert["fingerprint"] or digest_of(identity)[:16],
    }


def _heard(at: datetime | None, now: datetime) -> datetime:
    """A sender's time, or `now` where it says none or one to come."""
    return at if at and OLDEST <= at <= now else now


def _alert_from(fields: Fields) -> Alert:
    return Alert(
        name=fields["name"],
        cause=Cause(fields["cause"]),
        severity=fields["severity"],
        labels=fields["labels"],
        starts_at=as_time(fields["starts_at"]),
        ends_at=as_time(fields["ends_at"]) if fields["ends_at"] else None,
        fingerprint=fields["fingerprint"],
        annotations=fields["annotations"],
        unknown_cause=fields.get("unknown_cause"),
        problem=fields.get("problem"),
    )
