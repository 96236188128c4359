"""Whether a candidate passes on fresh rows, waits for more of them, or is dropped. Pure.

Half of a candidate's level goes to the test of its first night, half to an e-process over the fresh rows of
that night and of the nights that it waits. The two add up to the level, however long it waits. While it waits
no other candidate asks, so the allowance for the next one grows (see policy/night/level.py).

It is dropped once its nights will not do: it needs more rows than they will bring, even if the difference is
one standard error larger than measured. Dropping lets no bad candidate pass, so this may be a forecast.

Which rows people label may depend on the answer. A row that the candidate won counts as 1/odds of a row: so
much likelier people may label such rows than those that it lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pipelines.core.config import Gate
from pipelines.policy.stats.betting import Floats, log_evidence, rows_until

WAITING_SHARE = 0.5  # of the level
OPTIMISM = 1.0  # standard errors by which a difference may be larger than measured

Answer = Literal["pass", "wait", "drop"]
Values = Sequence[float]


@dataclass(frozen=True)
class FreshRows:
    """Fresh rows on which a candidate was compared with production on `nights` nights.

    `level`: of the candidate, as it was on its first night.
    """

    level: float
    won: int = 0
    lost: int = 0
    neither: int = 0
    nights: int = 0

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.won, self.lost, self.neither

    @property
    def count(self) -> int:
        return sum(self.counts)

    def and_tonight(self, won: int, lost: int, neither: int) -> FreshRows:
        """With the rows of one more night."""
        return replace(
            self,
            won=self.won + won,
            lost=self.lost + lost,
            neither=self.neither + neither,
            nights=self.nights + 1,
        )


def values_of(odds: float) -> tuple[float, float, float]:
    """What each of `FreshRows.counts` counts."""
    return 1 / odds, -1.0, 0.0


def first_level(level: float, waits: bool) -> float:
    """The level of the first night's test, for a candidate that may wait or may not."""
    return level * (1 - WAITING_SHARE) if waits else level


def answer_of(found: FreshRows, settings: Gate) -> Answer:
    values, margin = values_of(settings.rating_odds), settings.min_improvement
    if passes(found.counts, values, margin, found.level):
        return "pass"
    nights = settings.max_nights_waiting
    if not found.count or is_futile(found.counts, values, margin, found.level, found.nights, nights):
        return "drop"
    return "wait"


def passes(counts: ArrayLike, values: Values, margin: float, level: float | Floats) -> np.ndarray:
    """Arrays of counts are (..., kinds)."""
    return np.asarray(log_evidence(counts, values, margin) >= log_goal(level))


def is_futile(
    counts: ArrayLike,
    values: Values,
    margin: float,
    level: float | Floats,
    nights: ArrayLike,
    most_nights: int,
) -> np.ndarray:
    """`most_nights`: on how many nights a candidate is measured at most."""
    rows, measured = np.asarray(counts, dtype=float).sum(-1), np.asarray(nights)
    to_come = (rows + 1) / np.maximum(measured, 1) * (most_nights - measured)
    return np.asarray(rows_until(counts, values, margin, log_goal(level), OPTIMISM) > to_come)


def in_words(found: FreshRows, settings: Gate) -> str:
    """How far it is, such as "34 of about 80 fresh rows"."""
    values = values_of(settings.rating_odds)
    more = float(rows_until(found.counts, values, settings.min_improvement, log_goal(found.level)))
    about = f"of about {found.count + int(np.ceil(more))} " if np.isfinite(more) else ""
    return f"{found.count} {about}fresh rows in {found.nights} night{'s' * (found.nights != 1)}"


def measured_again(run_id: str, found: FreshRows, settings: Gate) -> str:
    """Why a night trains nothing."""
    return (
        f"The candidate of {run_id} waits, after {in_words(found, settings)}: it is measured again, and"
        " nothing is trained. To train instead, force this night (decide.force)."
    )


def log_goal(level: float | Floats) -> Floats:
    """What the e-process must reach, for a candidate of this level."""
    return np.asarray(-np.log(np.asarray(level) * WAITING_SHARE))
