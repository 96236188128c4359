"""Alerts, deliveries, silences and rulings: types and matching, for both planes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from pipelines.core.contract import digest_of


class Cause(StrEnum):
    """What an alert is about: its label `cause`, on which Prometheus' rules and the dispatch agree."""

    DATA_FAULT = "data_fault"  # broken or missing input: a person, and training is held
    DRIFT = "drift"  # questions or answers differ from before: retrain
    QUALITY = "quality"  # users dislike more answers: retrain
    SERVING = "serving"  # errors, latency: shortly after a promotion a rollback, otherwise a person
    OVERLOAD = "overload"  # queue, memory, GPU: scale or shed load, no training
    FEATURES = "features"  # stale features: a person
    OPERATIONS = "operations"  # a stuck DAG, a full disk, anything unknown: a person
    COST = "cost"  # a person


SEVERITIES = ("critical", "warning", "info")  # any other is treated as a warning
INFO = SEVERITIES[-1]
IDENTITY = {"alertname", "cause", "severity"}  # labels that are shown apart from the others
MOST_CHARACTERS = 300


class Action(StrEnum):
    """What is done after a ruling. Only the first two start a DAG."""

    RETRAIN = "retrain"
    ROLLBACK = "rollback"
    PAGE = "page"
    SCALE = "scale"
    WAIT = "wait"
    IGNORE = "ignore"


DAGS = {Action.RETRAIN: "nightly_retrain", Action.ROLLBACK: "rollback"}


@dataclass(frozen=True)
class Alert:
    """One alert of a delivery. `ends_at` None: it fires. `fingerprint`: the same for the same labels."""

    name: str
    cause: Cause
    severity: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    fingerprint: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    unknown_cause: str | None = None  # what the sender wrote, if that is not a `Cause`
    problem: str | None = None  # what is wrong with a delivery, for the alert that the endpoint adds to it

    @property
    def details(self) -> dict[str, str]:
        """The labels that distinguish it from other alerts of its name."""
        return {key: self.labels[key] for key in sorted(self.labels.keys() - IDENTITY)}

    def described(self) -> str:
        """Severity, name, labels, summary and runbook, on one line."""
        notes = (self.annotations.get(key, "") for key in ("summary", "runbook"))
        parts = (f"{self.severity} {self.name}", listed(self.details), *notes)
        return " | ".join(one_line(part) for part in parts if part)


@dataclass(frozen=True)
class Delivery:
    """What a sender delivered at once: a row of the inbox."""

    id: str
    received_at: datetime
    alerts: tuple[Alert, ...]
    traceparent: str


@dataclass(frozen=True)
class Silence:
    """Alerts whose labels (with `name`, `cause`, `severity`) match all patterns are not acted on."""

    matchers: Mapping[str, str]  # label -> pattern with * and ?
    until: datetime
    actor: str
    reason: str

    def covers(self, alert: Alert) -> bool:
        labels = {**alert.labels, "name": alert.name, "cause": alert.cause, "severity": alert.severity}
        return all(fnmatchcase(labels.get(key, ""), pattern) for key, pattern in self.matchers.items())


@dataclass(frozen=True)
class Ruling:
    """What was decided about the alerts of one cause, and the deliveries that it answers."""

    at: datetime
    cause: Cause
    action: Action
    reason: str
    triggers: tuple[str, ...]
    alerts: tuple[Alert, ...]  # those that it acts on, each fingerprint once
    traceparent: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted({alert.name for alert in self.alerts}))

    @property
    def id(self) -> str:
        return digest_of([self.at.isoformat(), self.cause, self.action, self.triggers])[:32]

    @property
    def dag_id(self) -> str:
        return DAGS.get(self.action, "")

    @property
    def dag_run_id(self) -> str:
        """The same for the same ruling, so that a run started twice is one run."""
        return f"alert__{self.cause}__{self.id}" if self.dag_id else ""


def silenced(alert: Alert, silences: Iterable[Silence]) -> bool:
    return any(silence.covers(alert) for silence in silences)


def one_line(text: str) -> str:
    """A sender's text without control characters and line breaks, shortened for a notice or a terminal."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= MOST_CHARACTERS else plain[: MOST_CHARACTERS - 1] + "…"


def listed(labels: Mapping[str, str]) -> str:
    """`job=nightly, tenant=campus`, on one line."""
    return one_line(", ".join(f"{key}={value}" for key, value in labels.items()))


def unknown_cause(given: str) -> str:
    return f"unknown cause {given[:40]!r}, taken as {Cause.OPERATIONS}"


def each_once(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """The newest alert of each name and fingerprint, sorted by name."""
    by_age = sorted(alerts, key=lambda alert: (alert.name, alert.fingerprint, alert.starts_at))
    return tuple({(alert.name, alert.fingerprint): alert for alert in by_age}.values())
