"""How often a cron schedule fires."""

from __future__ import annotations

import re

ALIASES = {
    "@hourly": "0 *",
    "@daily": "0 0",
    "@midnight": "0 0",
    "@weekly": "0 0",
    "@monthly": "0 0",
    "@yearly": "0 0",
    "@annually": "0 0",
}
PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?")


def most_runs_a_day(schedule: str) -> int:
    """The most times that `schedule` fires on one day: its minutes times its hours.

    Raises ValueError for an alias, a minute or an hour that cannot be read.
    """
    fields = ALIASES.get(schedule, schedule).split()
    if len(fields) < 2:
        raise ValueError(f"{schedule} is no known alias; known are {', '.join(ALIASES)}")
    return len(_values(fields[0], 60)) * len(_values(fields[1], 24))


def _values(field: str, end: int) -> set[int]:
    """The numbers below `end` that a field such as `*/15` or `8-18,22` names."""
    found = set[int]()
    for part in field.split(","):
        parts = PART.fullmatch(part)
        if parts is None:
            raise ValueError(f"{field} is no minute or hour of a cron schedule")
        first, last, step = parts.groups()
        start = int(first or 0)
        stop = int(last) if last else start if first and not step else end - 1
        found |= set(range(start, min(stop, end - 1) + 1, int(step or 1)))
    if not found:
        raise ValueError(f"{field} names nothing below {end}")
    return found
