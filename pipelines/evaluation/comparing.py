"""Two models' scores on the same items as a comparison with its bootstrap interval, for the report."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipelines.core.config import Config
from pipelines.core.facts import common
from pipelines.evaluation.scores import Scores
from pipelines.models.pair import CANDIDATE, PRODUCTION
from pipelines.policy.stats.intervals import Interval, bootstrap_mean, paired_difference


class Comparing(NamedTuple):
    """How intervals are made: resamples, confidence, and the seed that draws them."""

    samples: int
    confidence: float
    seed: int

    @classmethod
    def of(cls, config: Config) -> Comparing:
        return cls(config.evaluate.bootstrap_samples, config.evaluate.confidence, config.seed)

    def mean(self, values: np.ndarray) -> common.Interval:
        """Of (n,) scores of one model."""
        return _rounded(bootstrap_mean(values, *self))

    def difference(self, both: Scores) -> common.Interval:
        return _rounded(paired_difference(both[PRODUCTION], both[CANDIDATE], *self))

    def comparison(self, both: Scores) -> common.Comparison:
        return common.Comparison(
            n=len(both[PRODUCTION]),
            production=_mean(both[PRODUCTION]),
            candidate=_mean(both[CANDIDATE]),
            difference=self.difference(both),
        )


def _rounded(interval: Interval) -> common.Interval:
    value, low, high = (round(float(number), 6) for number in interval)
    return common.Interval(value=value, low=low, high=high)


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 6)
