"""How well a judge tells texts apart that it did not learn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quality:
    """Held-out area under the ROC curve with its interval."""

    auc: float
    low: float
    high: float
    n_train: int
    n_test: int
