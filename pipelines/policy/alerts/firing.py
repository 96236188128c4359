"""When alerts fired, from what was delivered. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pipelines.core.alerts import Alert, Cause, Delivery


@dataclass(frozen=True)
class Episode:
    """One time that an alert fired. `end` None: it still fires."""

    alert: Alert
    start: datetime
    end: datetime | None
    triggers: tuple[str, ...]


def episodes(deliveries: Iterable[Delivery], now: datetime, expires_s: float) -> Iterator[Episode]:
    """When each alert fired, whatever order its deliveries came in.

    A resolved alert ends every episode of its series that began before its `ends_at`.
    """
    started: dict[tuple[Cause, str, str], dict[datetime, list[tuple[Delivery, Alert]]]] = {}
    ended: dict[tuple[Cause, str, str], list[datetime]] = defaultdict(list)
    for delivery in deliveries:
        for alert in delivery.alerts:
            series = (alert.cause, alert.fingerprint, alert.name)  # senders may use a fingerprint twice
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
    """The episodes that have not ended."""
    return [episode for episode in found if episode.end is None]


def firing_data_faults(deliveries: Iterable[Delivery], now: datetime, expires_s: float) -> list[str]:
    """Names of the data faults that fire: while one does, nothing is trained."""
    fires = firing(episodes(deliveries, now, expires_s))
    return sorted({e.alert.name for e in fires if e.alert.cause is Cause.DATA_FAULT})
