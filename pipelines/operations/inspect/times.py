"""The night of a log, and how far back it reaches. A few odd times move neither. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median_low

from pipelines.core.config.data import MOST_LATE_DAYS
from pipelines.data.reader.cells import Unfit
from pipelines.data.reader.times import as_time
from pipelines.operations.inspect.kinds import OLDEST, TIMES, Rows, filled, shown
from pipelines.operations.inspect.names import OWNERS, plain

NEAR_DAYS = 400  # from the middle of the log; a few times beyond are odd
ODD_SHARE = 0.01
FEW = 10  # of so few times none is odd by its distance alone
TIME_NAMES = ("time", "date", "timestamp", "createdon", "createdat", "loggedat", "sentat", "datetime")


@dataclass
class Times:
    """`night` is the last plausible day. `odd` are the times that a night of these settings refuses."""

    night: date
    late_days: int
    first: datetime | None
    last: datetime | None
    odd: list[datetime]


def times_of(moments: Sequence[datetime], today: date) -> Times:
    """The night and span that the bulk of these times has; without times, yesterday."""
    if not moments:
        return Times(today - timedelta(days=1), 0, None, None, [])
    good = [one for one in moments if one.year >= OLDEST and one.date() <= today + timedelta(days=1)]
    good = _near(good or list(moments))
    night = max(good).date()
    late_days = min((night - min(good).date()).days, MOST_LATE_DAYS)
    odd = [one for one in moments if not 0 <= (night - one.date()).days <= late_days]
    return Times(night, late_days, min(good), max(good), odd)


def time_hints(times: Times, today: date) -> list[str]:
    """What a person should know of odd times."""
    hints = []
    if times.odd:
        hints.append(
            f"{len(times.odd):,} times are far from the others, such as {str(times.odd[0])[:16]} UTC. These "
            "rows are refused: correct ts there, or leave it empty."
        )
    if times.last and times.last.year < OLDEST:
        hints.append(
            f"All times lie before {OLDEST}, such as {times.last:%Y-%m-%d %H:%M} UTC. Is ts a date that is "
            f"written as a number? Write {TIMES}."
        )
    if times.night > today + timedelta(days=1):
        hints.append(f"All times lie in the future: the last day is {times.night}.")
    return hints


def unread_times(names: Sequence[str], rows: Rows) -> Iterator[str]:
    """Sentences on columns that are times by their name or values, in a log without ts."""
    for name in names:
        values = filled(name, rows[:FEW])
        owner = plain(name.rpartition(".")[0].rpartition(".")[2])
        if not values or owner in OWNERS or not plain(name).endswith(TIME_NAMES):
            continue
        try:
            moments = [as_time(value, UTC) for value in values]
        except Unfit:
            yield f"{name} holds {shown(values[0])}, which is not a time that is read: write {TIMES}."
            continue
        if all(one and one.year >= OLDEST for one in moments):
            yield f'{name} holds times. If the answers were given then, write ts = "{name}" (ingest.columns).'


def _near(moments: list[datetime]) -> list[datetime]:
    """Without the few that are far from the middle."""
    middle = median_low(moments)
    near = [one for one in moments if abs((one - middle).days) <= NEAR_DAYS]
    allowed = 0 if len(moments) < FEW else max(1, int(ODD_SHARE * len(moments)))
    return near if len(moments) - len(near) <= allowed else moments
