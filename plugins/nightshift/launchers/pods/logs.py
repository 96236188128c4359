"""Lines of a pod's log, each with its time, so that none is logged twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime


def new_lines(lines: Iterable[str], until: datetime | None) -> Iterator[tuple[datetime, str]]:
    """Time and text of the lines after `until`. A line without a time belongs to the one before."""
    at: datetime | None = None
    for line in lines:
        stamp, _, text = line.rstrip("\n").partition(" ")
        found = _time(stamp)
        at, text = (found, text) if found else (at, line)
        if at and (until is None or at > until):
            yield at, text


def since_s(until: datetime | None, now: datetime) -> int | None:
    """Seconds to ask a log for: back to `until`, with room for the clocks' rounding. None: all of it."""
    return int((now - until).total_seconds()) + 2 if until else None


def _time(stamp: str) -> datetime | None:
    """Kubernetes writes nanoseconds, which Python does not read."""
    try:
        return datetime.fromisoformat(f"{stamp[:26].rstrip('Z')}+00:00")
    except ValueError:
        return None
