"""The one form of a scorer, and how a rule for one answer becomes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# Scores n answers against n references: (n,) float64, each in [0, 1].
Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]


def by_item(rule: Callable[[str, str], float]) -> Scorer:
    """A scorer that asks `rule(answer, reference)` for each item by itself."""

    def score(answers: Sequence[str], references: Sequence[str]) -> np.ndarray:
        pairs = zip(answers, references, strict=True)
        return np.array([rule(answer, reference) for answer, reference in pairs], dtype=float)

    return score


def f1(common: float, found: int, wanted: int) -> float:
    """The harmonic mean of precision and recall of `common` of `found` and `wanted` parts; one is above 0."""
    return 2 * common / (found + wanted)
