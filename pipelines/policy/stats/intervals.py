"""Bootstrap intervals for the report. Decisions use the limits in `policy.stats.paired` instead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap

_BATCH = 500  # resamples drawn at once, so that memory stays flat


class Interval(NamedTuple):
    """An estimate with its lower and upper limit."""

    value: float
    low: float
    high: float

    def facts(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in self._asdict().items()}


def bootstrap_mean(values: ArrayLike, samples: int, confidence: float, seed: int) -> Interval:
    """Mean of independent values (n,) with its percentile bootstrap interval. Raises ValueError for none.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. The limits are widened by
    sqrt(n/(n-1)), which corrects the bootstrap's too small variance in small samples. Where all values are
    equal the interval is a point, which does not mean that the mean is known exactly.
    """
    data = np.asarray(values, dtype=float)
    if data.size == 0:
        raise ValueError("An interval needs at least one value. Leave the comparison out.")
    centre = float(data.mean())
    if data.size == 1:
        return Interval(centre, centre, centre)
    found = bootstrap(
        (data,),
        np.mean,
        n_resamples=samples,
        batch=_BATCH,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    limits = centre + (np.array(found) - centre) * np.sqrt(data.size / (data.size - 1))
    low, high = np.clip(limits, min(data.min(), centre), max(data.max(), centre))
    return Interval(centre, float(low), float(high))


def paired_difference(
    production: ArrayLike, candidate: ArrayLike, samples: int, confidence: float, seed: int
) -> Interval:
    """Mean of candidate minus production on the same items (n,). Pairs are resampled together."""
    before, after = np.asarray(production, dtype=float), np.asarray(candidate, dtype=float)
    assert before.shape == after.shape, "both models answer the same items"
    return bootstrap_mean(after - before, samples, confidence, seed)
