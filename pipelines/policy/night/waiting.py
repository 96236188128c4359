"""Whether a candidate passes on fresh rows, waits for more of them, or is dropped. Pure.

Half of a candidate's level goes to the test of its first night, half to an e-process over the fresh rows of
that night and of the nights that it waits. The two add up to the level, however long it waits. While it waits
no other candidate asks, so the allowance for the next one grows (see policy/night/level.py).

It is dropped once its nights will not do: it needs more rows than they will bring, even if the difference is
one standard error larger than measured. Dropping lets no bad candidate pass, so this may be a forecast.

Which rows people label may depend on the answer. A row that the candidate won counts as 1/odds of a row: so
much likelier people may label such rows than those that it lost. Items of a pool have known answers, so a won
one counts as one. With a pool the process is the mean of two: one bets on items and rows, one on items alone.
Else many rows that count little could outweigh the items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pipelines.core.config import Gate
from pipelines.policy.stats.betting import Floats, log_evidence, rows_until
from pipelines.policy.stats.paired import CHANGES

WAITING_SHARE = 0.5  # of the level
OPTIMISM = 1.0  # standard errors by which a difference may be larger than measured

Answer = Literal["pass", "wait", "drop"]
Values = Sequence[float]
Counts = tuple[int, int, int]  # rows or items that the candidate won, lost, and neither


@dataclass(frozen=True)
class FreshRows:
    """Fresh rows on which a candidate was compared with production on `nights` nights.

    `level`: of the candidate, as it was on its first night. `pool`: items of the pool, None without one.
    """

    level: float
    rows: Counts = (0, 0, 0)
    nights: int = 0
    pool: Counts | None = None

    @property
    def counts(self) -> tuple[int, ...]:
        return self.rows + (self.pool or ())

    @property
    def count(self) -> int:
        return sum(self.counts)

    def and_tonight(self, rows: Counts, pool: Counts = (0, 0, 0)) -> FreshRows:
        """With one more night. Items count only for a candidate that was asked some on its first night."""
        both = self.pool and _sum(self.pool, pool)
        return replace(self, rows=_sum(self.rows, rows), nights=self.nights + 1, pool=both)

    def values(self, odds: float) -> tuple[float, ...]:
        """What each of `counts` counts."""
        return values_of(odds, self.pool is not None)


def _sum(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def values_of(odds: float, with_pool: bool = False) -> tuple[float, ...]:
    """What each row counts that was won, lost or neither, and each item of the pool."""
    return (1 / odds, -1.0, 0.0, *(CHANGES if with_pool else ()))


def first_level(level: float, waits: bool) -> float:
    """The level of the first night's test, for a candidate that may wait or may not."""
    return level * (1 - WAITING_SHARE) if waits else level


def answer_of(found: FreshRows, settings: Gate) -> Answer:
    values, margin = found.values(settings.rating_odds), settings.min_improvement
    if passes(found.counts, values, margin, found.level):
        return "pass"
    nights = settings.max_nights_waiting
    if not found.count or is_futile(found.counts, values, margin, found.level, found.nights, nights):
        return "drop"
    return "wait"


def passes(counts: ArrayLike, values: Values, margin: float, level: float | Floats) -> np.ndarray:
    """Arrays of counts are (..., kinds): 3 kinds without a pool, 6 with one."""
    stakes = [log_evidence(found, kinds, margin) for found, kinds in _processes(counts, values)]
    return np.asarray(np.logaddexp.reduce(stakes) - np.log(len(stakes)) >= log_goal(level))


def is_futile(
    counts: ArrayLike,
    values: Values,
    margin: float,
    level: float | Floats,
    nights: ArrayLike,
    most_nights: int,
) -> np.ndarray:
    """Whether no process gets there. `most_nights`: on how many a candidate is measured at most."""
    measured = np.asarray(nights)
    left = (most_nights - measured) / np.maximum(measured, 1)
    late = [
        more > (found.sum(-1) + 1) * left
        for found, more in _forecasts(counts, values, margin, level, OPTIMISM)
    ]
    return np.asarray(np.logical_and.reduce(late))


def in_words(found: FreshRows, settings: Gate) -> str:
    """How far it is, such as "34 of about 80 fresh rows". It forecasts the process that is nearer."""
    values, margin = found.values(settings.rating_odds), settings.min_improvement
    nearest = min(
        (
            float(more) / max(counts.sum(), 1)
            for counts, more in _forecasts(found.counts, values, margin, found.level)
        ),
        default=np.inf,
    )
    about = f"of about {found.count + int(np.ceil(nearest * found.count))} " if np.isfinite(nearest) else ""
    ours = f", {sum(found.pool)} of them items of the pool," if found.pool else ""
    nights = f"{found.nights} night{'s' * (found.nights != 1)}"
    return f"{found.count} {about}fresh rows{ours} in {nights}"


def measured_again(run_id: str, found: FreshRows, settings: Gate) -> str:
    """Why a night trains nothing."""
    return (
        f"The candidate of {run_id} waits, after {in_words(found, settings)}: it is measured again, and"
        " nothing is trained. To train instead, force this night (decide.force)."
    )


def log_goal(level: float | Floats) -> Floats:
    """What the e-process must reach, for a candidate of this level."""
    return np.asarray(-np.log(np.asarray(level) * WAITING_SHARE))


def _processes(counts: ArrayLike, values: Values) -> list[tuple[Floats, Floats]]:
    """Counts and values that each process bets on: everything, and the items of a pool alone."""
    found, kinds = np.asarray(counts, dtype=float), np.asarray(values)
    return [(found[..., first:], kinds[first:]) for first in range(0, len(kinds), 3)]


def _forecasts(
    counts: ArrayLike, values: Values, margin: float, level: float | Floats, errors: float = 0.0
) -> list[tuple[Floats, Floats]]:
    """For each process its counts, and about how many more of its rows it takes by itself."""
    processes = _processes(counts, values)
    goal = log_goal(level) + np.log(len(processes))
    return [(found, rows_until(found, kinds, margin, goal, errors)) for found, kinds in processes]
