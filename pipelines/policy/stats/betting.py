"""An e-process for the mean of paired differences, which may be looked at after every night. Pure.

It bets on each row: a stake grows by the factor 1 + bet * (difference - margin). If the differences of the
rows so far are expected to be at most the margin on average, then the stake is expected to be at most 1, as
1 + x <= exp(x), and what is expected of a row may depend on the rows before it. So it ever reaches 1/alpha
with a probability of at most alpha (Ville's inequality). The null is the average over the nights: single
nights may be better (Choe and Ramdas 2024, "Comparing Sequential Forecasters"). This needs bets that do not
follow the outcomes. The mean of the stakes of several fixed bets is such a process, too (Waudby-Smith and
Ramdas 2024, "Estimating means of bounded random variables by betting"; Cover 1991, "Universal Portfolios").

How often each difference occurred is all that it needs. Arrays of counts are (..., kinds).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

STAKES = np.geomspace(0.02, 0.9, 12)  # shares of the largest bet that cannot lose everything


def log_evidence(counts: ArrayLike, values: ArrayLike, margin: float) -> Floats:
    """Log e-process against "the mean difference is at most the margin".

    `counts`: how often each of the `values` occurred, which lie from -1 to 1.
    """
    growth = np.asarray(counts, dtype=float) @ _log_factors(values, margin).T
    return np.asarray(np.logaddexp.reduce(growth, axis=-1) - np.log(len(STAKES)))


def rows_until(
    counts: ArrayLike, values: ArrayLike, margin: float, log_goal: float | Floats, errors: float = 0.0
) -> Floats:
    """About how many more rows it takes to reach `log_goal`, if the mean difference is as it was so far.

    `errors`: standard errors by which the mean is taken to be larger. Infinite where it would never do.
    A forecast, on which no promise rests: growth is that of a small bet, (mean - margin)^2 / 2 variance. One
    row at each end is added to what was found.
    """
    found, kinds = np.asarray(counts, dtype=float), np.asarray(values, dtype=float)
    rows = found.sum(-1) + 2
    mean = found @ kinds / rows
    variance = (found @ kinds**2 + 2) / rows - mean**2
    gap = mean + errors * np.sqrt(variance / rows) - margin
    missing = log_goal - log_evidence(counts, values, margin)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.where(gap > 0, 2 * variance * missing / gap**2, np.inf)
    return np.where(missing > 0, needed, 0.0)


def _log_factors(values: ArrayLike, margin: float) -> Floats:
    """(bets, kinds): the logarithm of what a stake is multiplied by."""
    bets = STAKES / (1 + max(margin, 0.0))
    return np.log1p(bets[:, None] * (np.asarray(values, dtype=float) - margin))
