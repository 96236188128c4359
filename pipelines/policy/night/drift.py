"""Did tonight's traffic change? One decision for the night, from how far it is from other nights. Pure.

Of nights without a change at most the share `alpha` raises drift, however many questions a person asks
and though nights differ from each other. Each column gives each night one distance from the others. A night's
statistic is its most unusual column, among those that are farther than usual by the smallest effect or more.

| past nights                   | decided by                                                              |
|-------------------------------|-------------------------------------------------------------------------|
| fewer than 7                  | cannot conclude: not every day of the week was seen; no drift           |
| 7 to 1 / alpha - 2            | Student's t; needs distances that are about normal                      |
| 1 / alpha - 1 or more (19)    | tonight's rank among all nights; needs only that nights are exchangeable |

A night is measured from the mean of the others. Where the past nights hold each weekday three times or more,
it is measured from those of its own weekday, so that a weekend is not far away for being a weekend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.policy.stats.nights import beyond_usual, rank_p_values, student_p_values

# What a column describes. A moved input is drift. A moved answer is drift only while the same model answers,
# because another model answers differently by design. A moved operation is reported and is not drift.
INPUT, ANSWER, OPERATION = "input", "answer", "operation"
FEWEST_NIGHTS = 7  # past nights: a week, so that each weekday was seen
WEEKS = 3  # past nights of each weekday that it takes to compare with the same weekday only
RANK, STUDENT, TOO_FEW = "rank among nights", "Student's t", "cannot conclude"


@dataclass(frozen=True)
class ColumnDistances:
    """One column's distance (0 equal, 1 disjoint) of each night from the others; tonight is the last."""

    column: str
    about: str
    method: str
    distances: tuple[float, ...]


@dataclass(frozen=True)
class DriftFinding:
    """`rule`: RANK or STUDENT. `columns`: a row a column for the report, the most unusual first."""

    drift: bool
    rule: str
    columns: list[dict[str, Any]]


def judge_night(
    columns: Sequence[ColumnDistances], alpha: float, smallest_effect: float, same_model: bool
) -> DriftFinding:
    """Whether the night drifted. Columns that do not count are corrected apart and never make drift."""
    past = len(columns[0].distances) - 1
    counting = [c for c in columns if c.about == INPUT or (c.about == ANSWER and same_model)]
    others = [c for c in columns if c not in counting]
    rows, beside = (_judged(family, alpha, smallest_effect) for family in (counting, others))
    rows.sort(key=lambda row: (row["p_adjusted"], -row["excess"], row["column"]))
    for row in rows:
        row["drifted"] = row["moved"]
    return DriftFinding(
        drift=any(row["drifted"] for row in rows),
        rule=RANK if ranks_suffice(past, alpha) else STUDENT,
        columns=[*rows, *sorted(beside, key=lambda row: (row["p_adjusted"], -row["excess"], row["column"]))],
    )


def too_little(past: int, rows: int, min_rows: int) -> str:
    """Why tonight cannot be compared with so many past nights; empty where it can."""
    if rows < min_rows:
        return f"{rows} rows of tonight count, {min_rows} are needed"
    if past < FEWEST_NIGHTS:
        return f"{past} past nights with enough rows, {FEWEST_NIGHTS} are needed"
    return ""


def weekdays_to_match(weekdays: Sequence[int]) -> np.ndarray | None:
    """The weekdays (0 to 6) of these nights, tonight's last; None where the past has too few of each."""
    past = np.bincount(weekdays[:-1], minlength=7)
    return np.array(weekdays) if past.min() >= WEEKS else None


def ranks_suffice(past: int, alpha: float) -> bool:
    """Whether the farthest of so many nights can be told at this level."""
    return alpha * (past + 1) >= 1 - 1e-9


def _judged(family: Sequence[ColumnDistances], alpha: float, smallest: float) -> list[dict[str, Any]]:
    if not family:
        return []
    excess, unusual = beyond_usual(np.round([column.distances for column in family], 4))  # as recorded
    unusual = np.where(excess >= smallest, unusual, -np.inf)  # too small to be worth an alarm, on any night
    past = unusual.shape[1] - 1
    if ranks_suffice(past, alpha):
        p_values = rank_p_values(unusual[:, -1], unusual[:, :-1].max(axis=0))
    else:
        p_values = student_p_values(unusual[:, -1], past)
    return [
        {
            "column": column.column,
            "about": column.about,
            "method": column.method,
            "p_adjusted": round(float(p_value), 6),
            "moved": bool(p_value <= alpha),
            "drifted": False,
            "effect": round(column.distances[-1], 4),
            "excess": round(float(beyond), 4),
            "distances": tuple(round(distance, 4) for distance in column.distances),
        }
        for column, p_value, beyond in zip(family, p_values, excess[:, -1], strict=True)
    ]


def topic_shares(reference: np.ndarray, tonight: np.ndarray, words: Sequence[str]) -> list[dict[str, Any]]:
    """Each topic's share of both windows, the largest change first; arrays hold topic numbers."""
    shares = [np.bincount(codes, minlength=len(words)) / len(codes) for codes in (reference, tonight)]
    rows = [
        {"words": name, "reference_share": round(float(before), 4), "tonight_share": round(float(now), 4)}
        for name, before, now in zip(words, *shares, strict=True)
    ]
    return sorted(rows, key=lambda row: (-abs(row["tonight_share"] - row["reference_share"]), row["words"]))
