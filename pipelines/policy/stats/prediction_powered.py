"""A mean over many items, from few labels of people and many predictions. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from pipelines.policy.stats.intervals import Interval

LEAST_LABELS = 30  # fewer give limits that miss the mean too often (benchmarks.judges)


class Powered(NamedTuple):
    """`weight`: of the predictions, from 0 (the labels alone) to 1."""

    mean: Interval
    weight: float


def prediction_powered_mean(
    labels: ArrayLike,
    predictions: ArrayLike,
    others: ArrayLike,
    confidence: float,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Powered:
    """The mean label of all items, with a two-sided interval.

    `labels` (n,) and `predictions` (n,) are of the labelled items, `others` (m,) predictions of the rest.
    Raises ValueError for fewer than three labels.

    PPI++ (Angelopoulos, Duchi and Zrnic 2023): the mean of label minus weight times prediction, plus the
    weight times the mean prediction of the others. The weight is the one of the least variance (their power
    tuning), so useless predictions get none, and cost nothing but its noise. The limits are Student's, as
    labels are few, and their variance counts one more item at each end, as few values that agree look too
    certain. It holds where the labelled items are drawn at random. Where they were chosen by what the
    judge said of them, it does not.
    """
    right, said = np.asarray(labels, dtype=float), np.asarray(predictions, dtype=float)
    rest = np.asarray(others, dtype=float)
    assert right.shape == said.shape, "a prediction for each label"
    if right.size < 3:
        raise ValueError(f"{right.size} labels give no interval. Label three items or more.")
    weight = _weight(right, said, rest)
    errors = right - weight * said
    value = errors.mean() + (weight * rest.mean() if rest.size else 0.0)
    middle = np.append(errors, (errors.mean() + bounds[0], errors.mean() + bounds[1]))
    variance = middle.var(ddof=1) / right.size
    if rest.size:
        variance += weight**2 * rest.var() / rest.size
    reach = t.ppf((1 + confidence) / 2, right.size - 2) * np.sqrt(variance)
    low, high = np.clip((value - reach, value + reach), *bounds)
    return Powered(Interval(float(np.clip(value, *bounds)), float(low), float(high)), weight)


def _weight(labels: np.ndarray, predictions: np.ndarray, others: np.ndarray) -> float:
    """Of the least variance, within [0, 1]; 0 where predictions are all alike, or there are no others."""
    spread = np.append(predictions, others).var()
    if not others.size or not spread:
        return 0.0
    covariance = float(np.mean((labels - labels.mean()) * (predictions - predictions.mean())))
    best = covariance / spread / (1 + labels.size / others.size)
    return float(np.clip(best, 0.0, 1.0))
