"""Bootstrap intervals for what `evaluate` states. numpy only; decisions use `policy.paired` instead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_BLOCK = 500  # resamples drawn at once, so that memory stays flat


class Interval(NamedTuple):
    """An estimate with its lower and upper limit."""

    value: float
    low: float
    high: float

    def facts(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in self._asdict().items()}


def bootstrap_mean(values: ArrayLike, samples: int, confidence: float, seed: int) -> Interval:
    """Mean of independent values with its percentile bootstrap interval.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. The limits are widened by
    sqrt(n/(n-1)), which mends the bootstrap's too small variance in small samples. Where all values are
    equal the interval is a point: it says nothing of what was not seen.
    """
    data = np.asarray(values, dtype=float)
    if data.size == 0:
        raise ValueError("an interval needs at least one value; leave the comparison out without any")
    rng = np.random.default_rng(seed)
    blocks = [min(_BLOCK, samples - first) for first in range(0, samples, _BLOCK)]
    means = np.concatenate([data[rng.integers(data.size, size=(b, data.size))].mean(axis=1) for b in blocks])
    centre, tail = data.mean(), (1 - confidence) / 2
    limits = centre + (np.quantile(means, [tail, 1 - tail]) - centre) * np.sqrt(
        data.size / max(data.size - 1, 1)
    )
    low, high = np.clip(limits, min(data.min(), centre), max(data.max(), centre))
    return Interval(float(centre), float(low), float(high))


def paired_difference(
    production: ArrayLike, candidate: ArrayLike, samples: int, confidence: float, seed: int
) -> Interval:
    """Mean of candidate minus production on the same items: items are resampled, so pairs stay together."""
    before, after = np.asarray(production, dtype=float), np.asarray(candidate, dtype=float)
    assert before.shape == after.shape, "both models answer the same items"
    return bootstrap_mean(after - before, samples, confidence, seed)
