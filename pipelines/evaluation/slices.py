"""Error rates over the slices of a workload, by fairlearn's MetricFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from fairlearn.metrics import MetricFrame
from sklearn.metrics import zero_one_loss


@dataclass(frozen=True)
class SliceErrors:
    by_value: dict[str, float]  # slice value -> share of wrong answers
    gap: float  # worst minus best value


def slice_errors(answers: Sequence[str], given: Sequence[str], values: Sequence[str]) -> SliceErrors:
    """Share of wrong answers for each value of one slice (`values`: its value on each item)."""
    frame = MetricFrame(
        metrics=zero_one_loss,
        y_true=list(answers),
        y_pred=list(given),
        sensitive_features=pd.Series(list(values), name="slice"),
    )
    by_value = {str(value): float(rate) for value, rate in frame.by_group.sort_index().items()}
    return SliceErrors(by_value, float(frame.difference()))
