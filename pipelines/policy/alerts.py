"""Alerts, and when they fire. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from pipelines.contract import digest_of


class Cause(StrEnum):
    """What an alert is about: its label `cause`. The contract between Prometheus' rules and the router."""

    DATA_FAULT = "data_fault"  # broken or missing input: a person looks, and training is held
    DRIFT = "drift"  # users ask, or the model answers, differently: retrain
    QUALITY = "quality"  # users like the answers less: retrain
    SERVING = "serving"  # errors, latency: rollback shortly after a promotion, otherwise a person
    OVERLOAD = "overload"  # queue, memory, GPU: scale or shed, no training
    FEATURES = "features"  # stale features: a person
    OPERATIONS = "operations"  # a stuck DAG, a full disk, anything unknown: a person
    COST = "cost"  # a person


class Action(StrEnum):
    """What a ruling does. Only the first two start a DAG."""

    RETRAIN = "retrain"
    ROLLBACK = "rollback"
    PAGE = "page"
    SCALE = "scale"
    WAIT = "wait"
    IGNORE = "ignore"


DAGS = {Action.RETRAIN: "nightly_retrain", Action.ROLLBACK: "rollback"}


@dataclass(frozen=True)
class Alert:
    """One alert of a delivery. `ends_at` None: it fires. The fingerprint names the series."""

    name: str
    cause: Cause
    severity: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    fingerprint: str


@dataclass(frozen=True)
class Delivery:
    """What arrived at once: a row of the inbox."""

    id: str
    received_at: datetime
    alerts: tuple[Alert, ...]
    traceparent: str


@dataclass(frozen=True)
class Silence:
    """Alerts whose labels (with `name`, `cause`, `severity`) all fit the patterns are not acted on."""

    matchers: Mapping[str, str]  # label -> pattern with * and ?
    until: datetime
    actor: str
    reason: str

    def covers(self, alert: Alert) -> bool:
        labels = {**alert.labels, "name": alert.name, "cause": alert.cause, "severity": alert.severity}
        return all(fnmatchcase(labels.get(key, ""), pattern) for key, pattern in self.matchers.items())


@dataclass(frozen=True)
class Ruling:
    """A decision, and the deliveries that it accounts for."""

    at: datetime
    cause: Cause
    action: Action
    reason: str
    triggers: tuple[str, ...]
    names: tuple[str, ...]  # of the alerts that it acts on
    traceparent: str

    @property
    def id(self) -> str:
        return digest_of([self.at.isoformat(), self.cause, self.action, self.triggers])[:32]

    @property
    def dag_id(self) -> str:
        return DAGS.get(self.action, "")

    @property
    def dag_run_id(self) -> str:
        """The same for the same ruling, so that starting it twice is starting it once."""
        return f"alert__{self.cause}__{self.id}" if self.dag_id else ""


@dataclass(frozen=True)
class Episode:
    """One time that an alert fired. `end` None: it still does."""

    alert: Alert
    start: datetime
    end: datetime | None
    triggers: tuple[str, ...]


def episodes(deliveries: Iterable[Delivery], now: datetime, expires_s: float) -> Iterator[Episode]:
    """When each alert fired, whatever order its deliveries came in.

    A resolved alert ends every episode of its series that began before its `ends_at`.
    """
    started: dict[tuple[Cause, str], dict[datetime, list[tuple[Delivery, Alert]]]] = {}
    ended: dict[tuple[Cause, str], list[datetime]] = defaultdict(list)
    for delivery in deliveries:
        for alert in delivery.alerts:
            series = (alert.cause, alert.fingerprint)
            if alert.ends_at:
                ended[series].append(alert.ends_at)
            else:
                starts = started.setdefault(series, {})
                starts.setdefault(alert.starts_at, []).append((delivery, alert))
    for series, starts in started.items():
        ends = sorted(ended[series])
        for start, seen in starts.items():
            newest, alert = max(seen, key=lambda one: (one[0].received_at, one[0].id))
            after = bisect_left(ends, start)
            end = ends[after] if after < len(ends) else None
            if end is None and (now - newest.received_at).total_seconds() > expires_s:
                end = newest.received_at
            yield Episode(alert, start, end, tuple(delivery.id for delivery, _ in seen))


def firing(found: Iterable[Episode]) -> list[Episode]:
    return [episode for episode in found if episode.end is None]
