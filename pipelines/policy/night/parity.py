"""Do the online and the offline feature store agree, and are they fresh? Pure.

The step `features` asks it of each night, and `features-sync` of the store every hour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

Value = float | int | None
Values = Mapping[str, Mapping[str, Value]]  # entity -> feature -> value


@dataclass(frozen=True)
class Skew:
    """One value that differs, or (feature "event_timestamp") an entity that is missing or stale online."""

    entity: str
    feature: str
    offline: Value | str
    online: Value | str


def check(
    offline: Values,
    online: Values,
    stamps: Mapping[str, datetime | None],
    at: datetime,
    max_age: timedelta,
    tolerance: float,
) -> list[Skew]:
    """What is missing online or too old at an instant, then every value that differs."""
    return [*stale(stamps, at, max_age), *compare(offline, online, tolerance)]


def is_old(newest: datetime | None, now: datetime, max_age: timedelta) -> bool:
    """Whether the newest features are older than `max_age`, or there are none."""
    return newest is None or now - newest > max_age


def sentence(skew: Skew) -> str:
    return f"{skew.entity}: {skew.feature} is {skew.online} online and {skew.offline} offline."


def compare(offline: Values, online: Values, tolerance: float) -> list[Skew]:
    """Every value that differs by more than `tolerance` x max(1, |offline|). Null equals null only."""
    return [
        Skew(entity, feature, value, online.get(entity, {}).get(feature))
        for entity, features in offline.items()
        for feature, value in features.items()
        if not _same(value, online.get(entity, {}).get(feature), tolerance)
    ]


def stale(stamps: Mapping[str, datetime | None], at: datetime, max_age: timedelta) -> list[Skew]:
    """Entities whose online row is missing, older than `max_age` at that instant, or from after it."""
    return [
        Skew(entity, "event_timestamp", at.isoformat(), stamp.isoformat() if stamp else None)
        for entity, stamp in stamps.items()
        if stamp is None or not timedelta(0) <= at - stamp <= max_age
    ]


def _same(a: Value, b: Value, tolerance: float) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return math.isfinite(b) and abs(a - b) <= tolerance * max(1.0, abs(a))
