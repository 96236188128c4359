"""Holm's correction for several tests at once. scipy has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order (Holm, Scand. J. Statistics 6 (1979) 65-70).

    Rejecting where the adjusted p-value is at most alpha keeps the chance of even one false rejection
    below alpha, however the tests depend on each other.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.array(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted.tolist()
