"""Limits for the mean of paired differences, small samples included; exact where the outcomes are binary.

Fairness, safety and the gate use the same method, so that an interval and its test never disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Floats = NDArray[np.float64]

CHANGES = (1.0, -1.0, 0.0)  # candidate minus production, where an answer is right or wrong
MOST_VALUES = 1_000  # distinct values; where there are more, each moves outwards by at most GRID
GRID = 1e-3
STEP, STEPS = 0.6, 11  # of the integral: relative errors of a tail stayed below 1e-5
TOLERANCE = 1e-3  # of Newton's last step, whose error is then about its square


def mean_limits(
    values: Sequence[float],
    alpha_low: float,
    alpha_high: float,
    bounds: tuple[float, float] = (-1, 1),
    counts: Sequence[int] | None = None,
) -> tuple[float, float]:
    """One-sided lower and upper limits of the mean of bounded values, each at its own error rate.

    Gaffke's bound (Gaffke 2005; Learned-Miller and Thomas 2020, "A New Confidence Interval for the Mean
    of a Bounded Random Variable"): the quantile of the mean under Dirichlet weights on the values and on
    one more value at the worst end. For values of 0 and 1 in [0, 1] it is Clopper-Pearson, and for
    differences of -1, 0 and 1 the lower limit exceeds 0 exactly when the exact McNemar test rejects.
    For other margins and values the bound has no proof: `benchmarks.decisions` and a test add up its error
    rates over all outcomes of many distributions, and none exceeded its alpha. Values must be independent.

    `counts` tells how often each value occurs; without it, each occurs once. Without values the limits are
    the bounds. The quantiles come from numerical integration (see `_log_tail`), so they are as good at an
    alpha of 1e-9 as at 0.05, and take a few milliseconds.
    """
    low, high = (_dirichlet(values, counts, bounds, end) for end in bounds)
    width = bounds[1] - bounds[0]
    return (
        bounds[0] + width * _quantile(*low, round(alpha_low, 15)),
        bounds[1] - width * _quantile(*high, round(alpha_high, 15)),
    )


def mean_p_value(
    values: Sequence[float],
    margin: float,
    bounds: tuple[float, float] = (-1, 1),
    counts: Sequence[int] | None = None,
) -> float:
    """The least alpha at which the lower limit of `mean_limits` reaches the margin; 1 where none does."""
    support, weights = map(np.array, _dirichlet(values, counts, bounds, bounds[0]))
    limit = (margin - bounds[0]) / (bounds[1] - bounds[0])
    if not 0 < limit < support[-1]:
        return float(limit > 0)

    def excess(log_pole: float) -> float:
        return _mean_at(support, weights, math.exp(log_pole)) - limit

    return min(1.0, math.exp(_log_tail(support, weights, math.exp(_root(excess)))))


def items_needed(second_moment: float, gap: float, margin: float, alpha: float, power: float = 0.8) -> int:
    """How many items it takes to tell a difference `gap` away from its limit, with this power.

    Normal approximation with the observed second moment of the differences. Never fewer items than exclude
    the margin where not one of them differs.
    """
    z = NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(power)
    floor = math.log(alpha) / math.log(1 - margin) if 0 < margin < 1 else 1
    return math.ceil(max(second_moment * (z / gap) ** 2, floor))


def _dirichlet(
    values: Sequence[float], counts: Sequence[int] | None, bounds: tuple[float, float], end: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Distances to `end`, as shares of the width, with their weights; `end` itself is one more value."""
    data = np.asarray(values, dtype=float)
    assert ((data >= bounds[0] - 1e-9) & (data <= bounds[1] + 1e-9)).all(), "values out of bounds"
    times = np.ones(data.size) if counts is None else np.asarray(counts, dtype=float)
    distances = np.append(np.abs(data[times > 0] - end), 0.0) / (bounds[1] - bounds[0])
    distances = np.round(distances, 9)
    support, place = np.unique(distances, return_inverse=True)
    if len(support) > MOST_VALUES:
        support, place = np.unique(np.floor(distances / GRID) * GRID, return_inverse=True)
    weights = np.bincount(place, weights=np.append(times[times > 0], 1.0))
    return tuple(support.tolist()), tuple(weights.tolist())


@lru_cache(maxsize=8192)
def _quantile(support: tuple[float, ...], weights: tuple[float, ...], alpha: float) -> float:
    """The alpha quantile of the mean of `support`, which begins with 0, under Dirichlet weights."""
    if alpha <= 0 or len(support) == 1:
        return 0.0
    if alpha >= 1:
        return support[-1]
    distances, times = np.array(support), np.array(weights)

    def excess(log_pole: float) -> float:
        return _log_tail(distances, times, math.exp(log_pole)) - math.log(alpha)

    return _mean_at(distances, times, math.exp(_root(excess)))


def _root(excess: Callable[[float], float]) -> float:
    """Where an increasing function is 0."""
    low, high = -1.0, 2.0
    while excess(low) > 0:
        low -= 10
    while excess(high) < 0:
        high += 10
    return float(brentq(excess, low, high, xtol=1e-8))


def _mean_at(distances: Floats, weights: Floats, pole: float) -> float:
    """The mean x whose tail has its saddle point at 1 / (pole + x); it grows with `pole`."""
    shifted = pole + distances
    return float((1 + (weights * distances / shifted).sum()) / (weights / shifted).sum())


def _log_tail(distances: Floats, weights: Floats, pole: float) -> float:
    """The logarithm of P(mean < x) for Dirichlet `weights` on `distances`, where x is the mean at `pole`.

    The mean is below x when sum (x - distance) Gamma(weight) > 0. The probability of that is an integral of
    the sum's moment generating function through its saddle point (Daniels 1987, "Tail Probability
    Approximations"), computed here and not approximated.
    """
    x, shifted = _mean_at(distances, weights, pole), pole + distances
    integral = _along_descent((x - distances) / shifted, weights)
    return float(weights @ np.log((pole + x) / shifted)) + math.log(integral / math.pi)


def _along_descent(ratios: Floats, weights: Floats) -> float:
    """The integral of exp(L(z)) on the path of steepest descent, on which L(z) = -t^2 / 2, over t from 0.

    L(z) = -sum weight log(1 - ratio z) - log(1 + z), and its saddle point is at 0. Newton's method finds the
    path's next place. Nothing oscillates there, so a few trapezoids suffice (after integration by parts).
    """
    place, slope, total = 0j, 1j / math.sqrt(1 + weights @ ratios**2), 0.0
    for t in STEP * np.arange(1, STEPS + 1):
        place, error = place + slope * STEP, 1j
        while abs(error) > TOLERANCE * abs(place):
            factors = 1 - ratios * place
            growth = weights @ (ratios / factors) - 1 / (1 + place)
            error = (t * t / 2 - weights @ np.log(factors) - np.log(1 + place)) / growth
            place -= error
        slope = -t / growth
        total += t * math.exp(-t * t / 2) * place.imag
    return total * STEP
