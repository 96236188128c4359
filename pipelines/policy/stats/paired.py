"""Limits for the mean of paired differences, small samples included; exact where the outcomes are binary.

Fairness, safety and the gate use the same method, so that an interval and its test never disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from scipy.stats import binomtest

DRAWS = 20_000  # of the Dirichlet at least, and more where the tail would hold under 200 of them
MOST_DRAWS = 2_000_000


def mean_limits(
    values: Sequence[float], alpha_low: float, alpha_high: float, bounds: tuple[float, float] = (-1, 1)
) -> tuple[float, float]:
    """One-sided lower and upper limits of the mean of bounded values, each at its own error rate.

    Gaffke's bound (Gaffke 2005; Learned-Miller and Thomas 2020, "A New Confidence Interval for the Mean
    of a Bounded Random Variable"): the quantile of the mean under Dirichlet weights on the values and on
    one more value at the worst end. For values of 0 and 1 in [0, 1] it is Clopper-Pearson, and for
    differences of -1, 0 and 1 the lower limit exceeds 0 exactly when the exact McNemar test rejects.
    For other values the bound is shown by simulation, in the paper and in our tests, and is not proved.
    Without values the limits are the bounds.
    """
    rounded = np.round(np.asarray(values, dtype=float), 9)
    assert rounded.size == 0 or bounds[0] <= rounded.min() <= rounded.max() <= bounds[1], "out of bounds"
    support, counts = np.unique(rounded, return_counts=True)
    key = tuple(support.tolist()), tuple(counts.tolist())
    mirrored = tuple((-support[::-1]).tolist()), tuple(counts[::-1].tolist())
    low = -_upper(*mirrored, -bounds[0], round(alpha_low, 12))
    return low, _upper(*key, bounds[1], round(alpha_high, 12))


@lru_cache(maxsize=8192)
def _upper(support: tuple[float, ...], counts: tuple[int, ...], end: float, alpha: float) -> float:
    rng = np.random.default_rng(20_260_101)  # fixed: equal data have equal limits
    draws = int(min(max(DRAWS, 200 / alpha), MOST_DRAWS))
    weights = rng.standard_gamma(np.array([*counts, 1.0]), size=(draws, len(counts) + 1))
    means = weights @ np.array([*support, end]) / weights.sum(axis=1)
    return float(np.quantile(means, 1 - alpha))


def sign_test(gains: int, losses: int) -> float:
    """One-sided exact McNemar p-value that gains outnumber losses by chance; 1 where there are none."""
    n = gains + losses
    return float(binomtest(gains, n, alternative="greater").pvalue) if n else 1.0


def items_needed(second_moment: float, gap: float, margin: float, alpha: float, power: float = 0.8) -> int:
    """How many items it takes to tell a difference `gap` away from its limit, with this power.

    Normal approximation with the observed second moment of the differences. Never fewer items than exclude
    the margin where not one of them differs.
    """
    z = NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(power)
    floor = math.log(alpha) / math.log(1 - margin) if 0 < margin < 1 else 1
    return math.ceil(max(second_moment * (z / gap) ** 2, floor))
