"""Did tonight's traffic change? One decision for the night from the tests of all its columns. Pure.

Holm's step-down keeps the chance of even one false alarm a night below alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.policy.stats.holm import holm

# What a column describes. A moved input is drift. A moved answer is drift only while the same model answers,
# because another model answers differently by design. A moved operation is reported and is not drift.
INPUT, ANSWER, OPERATION = "input", "answer", "operation"


@dataclass(frozen=True)
class ColumnTest:
    """One column's comparison. `effect` runs from 0 (equal) to 1; `method` says which effect it is."""

    column: str
    about: str
    method: str
    p_value: float
    effect: float


def drifted_columns(
    tests: Sequence[ColumnTest], alpha: float, same_model: bool
) -> tuple[bool, list[dict[str, Any]]]:
    """Whether the night drifted, and every column's row for the report, the smallest p-value first."""
    columns: list[dict[str, Any]] = []
    for test, adjusted in zip(tests, holm([test.p_value for test in tests]), strict=True):
        moved = adjusted <= alpha
        counts = test.about == INPUT or (test.about == ANSWER and same_model)
        columns.append(
            {
                "column": test.column,
                "about": test.about,
                "method": test.method,
                "p_value": round(test.p_value, 6),
                "p_adjusted": round(adjusted, 6),
                "moved": moved,
                "drifted": moved and counts,
                "effect": round(test.effect, 4),
            }
        )
    columns.sort(key=lambda row: (row["p_adjusted"], -row["effect"], row["column"]))
    return any(row["drifted"] for row in columns), columns


def topic_shares(reference: np.ndarray, tonight: np.ndarray, words: Sequence[str]) -> list[dict[str, Any]]:
    """Each topic's share of both windows, the largest change first; arrays hold topic numbers."""
    shares = [np.bincount(codes, minlength=len(words)) / len(codes) for codes in (reference, tonight)]
    rows = [
        {"words": name, "reference_share": round(float(before), 4), "tonight_share": round(float(now), 4)}
        for name, before, now in zip(words, *shares, strict=True)
    ]
    return sorted(rows, key=lambda row: (-abs(row["tonight_share"] - row["reference_share"]), row["words"]))
