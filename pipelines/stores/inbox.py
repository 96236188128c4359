"""The inbox of alerts in the ledger: deliveries, what was ruled on them, silences.

A delivery that no ruling names is unruled; every routing rules on all of those, so none is lost. Needs
SQLAlchemy only, so that Airflow's plugin can use it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

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
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import RULINGS, SILENCES, TASK_EVENTS, TRIGGERS

NAMED = sa.func.json_each(RULINGS.c.triggers).table_valued("value")
UNRULED = TRIGGERS.c.id.not_in(sa.select(NAMED.c.value).select_from(RULINGS.join(NAMED, sa.true())))
ALL_SILENCES = sa.select(SILENCES).order_by(SILENCES.c.at)


class Inbox:
    """Reads and writes the inbox of a ledger. Raises SQLAlchemy's OperationalError while it is locked."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def deliver(self, *deliveries: Mapping[str, Any]) -> list[bool]:
        """Keep deliveries (rows that `delivery_row` made), each once; returns which of them were new."""
        return self._ledger.append(TRIGGERS, *(dict(row) for row in deliveries))

    def unruled(self) -> frozenset[str]:
        """Ids of the deliveries that no ruling names."""
        return frozenset(row["id"] for row in self._ledger.rows(sa.select(TRIGGERS.c.id).where(UNRULED)))

    def head(self) -> str:
        """Changes with whatever is written to the ledger."""
        return self._ledger.head()

    def waiting(self) -> int:
        """How many deliveries are unruled."""
        (row,) = self._ledger.rows(sa.select(sa.func.count().label("number")).where(UNRULED))
        return int(row["number"])

    def newest(self, within_s: float) -> str:
        """When the newest delivery came; empty if that is longer ago."""
        (row,) = self._ledger.rows(sa.select(sa.func.max(TRIGGERS.c.received_at).label("at")))
        oldest = _text(datetime.now(UTC) - timedelta(seconds=within_s))
        return row["at"] if row["at"] and row["at"] > oldest else ""

    def deliveries(self, since: datetime) -> list[Delivery]:
        """Those received since then, and every unruled one, oldest first."""
        wanted = sa.or_(TRIGGERS.c.received_at >= _text(since), UNRULED)
        query = sa.select(TRIGGERS).where(wanted).order_by(TRIGGERS.c.received_at, TRIGGERS.c.id)
        return [_delivery(row) for row in self._ledger.rows(query)]

    def add_rulings(self, rulings: Sequence[Ruling]) -> None:
        """Keep the rulings of one routing, all or none."""
        rows = [
            {
                "id": ruling.id,
                "at": _text(ruling.at),
                "cause": ruling.cause.value,
                "action": ruling.action.value,
                "reason": ruling.reason,
                "triggers": canonical_json(ruling.triggers).decode(),
                "dag_id": ruling.dag_id,
                "dag_run_id": ruling.dag_run_id,
                "traceparent": ruling.traceparent,
            }
            for ruling in rulings
        ]
        self._ledger.append(RULINGS, *rows)

    def rulings(self, since: datetime, alerts: Mapping[str, Sequence[Alert]]) -> list[Ruling]:
        """Rulings since then, oldest first; `alerts` are those of each delivery, by its id."""
        query = sa.select(RULINGS).where(RULINGS.c.at >= _text(since)).order_by(RULINGS.c.at, RULINGS.c.id)
        silences = self._ledger.rows(ALL_SILENCES)
        return [_ruling(row, alerts, _in_force(silences, row["at"])) for row in self._ledger.rows(query)]

    def began(self, dag_run_ids: Iterable[str]) -> set[str]:
        """Which of these runs left a trace in the task history."""
        query = sa.select(TASK_EVENTS.c.run_id).where(TASK_EVENTS.c.run_id.in_(list(dag_run_ids))).distinct()
        return {row["run_id"] for row in self._ledger.rows(query)}

    def add_silence(self, silence: Silence, at: datetime) -> None:
        row = {
            "at": _text(at),
            "matchers": canonical_json(dict(silence.matchers)).decode(),
            "until": _text(silence.until),
            "actor": silence.actor,
            "reason": silence.reason,
        }
        self._ledger.append(SILENCES, {"id": digest_of(row)[:32], **row})

    def silences(self, now: datetime) -> list[Silence]:
        """Those in force. For the same matchers the newest row counts, so a silence can be ended early."""
        return _in_force(self._ledger.rows(ALL_SILENCES), _text(now))


def delivery_row(
    source: str, sender: str, alerts: Sequence[Mapping[str, Any]], digest_parts: Sequence[bytes],
    traceparent: str, now: datetime,
) -> dict[str, Any]:  # fmt: skip
    """A row of the inbox. Its id is the sha256 of `digest_parts`: source, body and the sender's replay id.

    An alert has name, status, severity, cause, labels, annotations, starts_at, ends_at and fingerprint. Times
    after `now` count as now: a wrong clock must not keep an alert firing, or over, for good.
    """
    name = hashlib.sha256()
    for part in (source.encode(), *digest_parts):
        name.update(len(part).to_bytes(8) + part)
    return {
        "id": name.hexdigest(),
        "received_at": _text(now),
        "source": source,
        "sender": sender,
        "alerts": canonical_json([_plain(alert, now) for alert in alerts]).decode(),
        "traceparent": traceparent,
    }


def warnings(alerts: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was taken, but not as its sender may have meant it."""
    causes = {alert["cause"] for alert in alerts} - set(Cause)
    severities = {alert["severity"] for alert in alerts} - set(SEVERITIES)
    return [
        *(f"{unknown_cause(cause)}: known are {', '.join(Cause)}" for cause in sorted(causes)),
        *(
            f"unknown severity {severity[:40]!r}, acted on like warning: known are {', '.join(SEVERITIES)}"
            for severity in sorted(severities)
        ),
    ]


def _plain(alert: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    known = alert["cause"] in set(Cause)
    cause = alert["cause"] if known else Cause.OPERATIONS.value
    over = alert["status"] == "resolved"
    identity = {"name": alert["name"], "cause": cause, "labels": alert["labels"]}
    return {
        **alert,
        **({} if known else {"unknown_cause": alert["cause"]}),
        "cause": cause,
        "starts_at": _text(min(alert["starts_at"] or now, now)),
        "ends_at": _text(min(alert["ends_at"] or now, now)) if over else "",
        "fingerprint": alert["fingerprint"] or digest_of(identity)[:16],
    }


def _delivery(row: Mapping[str, Any]) -> Delivery:
    alerts = tuple(
        Alert(
            name=alert["name"],
            cause=Cause(alert["cause"]),
            severity=alert["severity"],
            labels=alert["labels"],
            starts_at=_time(alert["starts_at"]),
            ends_at=_time(alert["ends_at"]) if alert["ends_at"] else None,
            fingerprint=alert["fingerprint"],
            annotations=alert["annotations"],
            unknown_cause=alert.get("unknown_cause"),
        )
        for alert in json.loads(row["alerts"])
    )
    return Delivery(row["id"], _time(row["received_at"]), alerts, row["traceparent"])


def _in_force(rows: Iterable[Mapping[str, Any]], at: str) -> list[Silence]:
    """Silences at that time, of rows in order of time."""
    newest = {row["matchers"]: row for row in rows if row["at"] <= at}
    return [
        Silence(json.loads(row["matchers"]), _time(row["until"]), row["actor"], row["reason"])
        for row in newest.values()
        if row["until"] > at
    ]


def _ruling(
    row: Mapping[str, Any], alerts: Mapping[str, Sequence[Alert]], silences: Sequence[Silence]
) -> Ruling:
    """As it was made: resolved, `info` and then silenced alerts of its deliveries were not acted on."""
    triggers, cause = tuple(json.loads(row["triggers"])), Cause(row["cause"])
    told = (alert for trigger in triggers for alert in alerts.get(trigger, ()) if alert.cause is cause)
    loud = (alert for alert in told if alert.ends_at is None and alert.severity != INFO)
    acted_on = each_once(alert for alert in loud if not silenced(alert, silences))
    return Ruling(
        at=_time(row["at"]),
        cause=cause,
        action=Action(row["action"]),
        reason=row["reason"],
        triggers=triggers,
        alerts=acted_on,
        traceparent=row["traceparent"],
    )


def _text(at: datetime) -> str:
    """Equally long for all times, so that their order is the order of the texts."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
