"""Error rates over the slices of a workload, by fairlearn's MetricFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, mean_prediction


@dataclass(frozen=True)
class SliceErrors:
    by_value: dict[str, float]  # slice value -> share of wrong answers, or mean error
    gap: float  # worst minus best value


def slice_errors(wrong: np.ndarray, values: Sequence[str]) -> SliceErrors:
    """Mean error for each value of one slice. `wrong`: (n,) 1 for a wrong answer, 0 for a right one.

    `values`: the slice's value on each item.
    """
    frame = MetricFrame(
        metrics=mean_prediction,
        y_true=np.zeros(len(wrong)),
        y_pred=wrong,
        sensitive_features=pd.Series(list(values), name="slice"),
    )
    by_value = {str(value): float(rate) for value, rate in frame.by_group.sort_index().items()}
    return SliceErrors(by_value, float(frame.difference()))
