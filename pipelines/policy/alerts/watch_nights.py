"""Live questions against earlier nights: what is kept of a night, and how far the window is. Pure.

A night's counts and its mean embedding are enough for the comparison, so a watch reads each night once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.core.conversations import question_text
from pipelines.policy.alerts.watch import ColumnTest
from pipelines.policy.alerts.watch_tests import WatchSide, labels_or_other, told_no_label, wanted_label
from pipelines.policy.night.drift import INPUT
from pipelines.policy.stats.nights import (
    beyond_usual,
    kolmogorov_smirnov,
    shares_of,
    spread_around,
    standardised_shift,
    student_p_values,
    total_variation,
)

NIGHTS = "distance of nights, Student's t"
CATEGORIES = ("tenant", "locale", "channel")


@dataclass(frozen=True)
class NightQuestions:
    """The questions of one night, or of the window.

    `counts`: rows of each value of a category. `lengths`: characters of each question, sorted. `silent`:
    somebody rated an answer without telling the right one. `mean` and `square`: of the embeddings, and of
    their squared lengths.
    """

    counts: Mapping[str, Mapping[str, int]]
    lengths: Sequence[int]
    silent: bool
    mean: Sequence[float]
    square: float


def questions_of(night: WatchSide, labels: Sequence[str]) -> NightQuestions:
    """What is kept of these rows. `labels`: the task's; without any, nobody asks for a label."""
    counts = {name: _counts(str(row[name]) for row in night.rows) for name in CATEGORIES}
    told = [str(wanted) for row in night.rows if (wanted := wanted_label(row)) is not None]
    if labels:
        counts["wanted_label"] = _counts(labels_or_other(told, labels))
    return NightQuestions(
        counts=counts,
        lengths=sorted(len(question_text(row["messages"])) for row in night.rows),
        silent=any(told_no_label(row) for row in night.rows),
        mean=night.vectors.mean(axis=0, dtype=np.float64).tolist(),
        square=float((night.vectors.astype(np.float64) ** 2).sum(axis=1).mean()),
    )


def questions_by_night(
    nights: Sequence[NightQuestions], labels: Sequence[str], min_rated: int
) -> list[ColumnTest]:
    """How unusual the questions of the last night, the window, are among those of the nights before.

    Unlike relabelled people, this knows how much nights differ; see `pipelines.policy.stats.nights`.
    """
    found = {name: _categories([night.counts[name] for night in nights]) for name in CATEGORIES}
    if labels and not any(night.silent for night in nights):
        wanted = [night.counts["wanted_label"] for night in nights]
        if min(sum(counts.values()) for counts in wanted) >= min_rated:
            found["wanted_label"] = _categories(wanted)
    found["prompt_length"] = kolmogorov_smirnov(_shares([night.lengths for night in nights], lump=False))
    means, rows = np.array([night.mean for night in nights]), [len(night.lengths) for night in nights]
    spread = spread_around(means, np.array([night.square for night in nights]), np.array(rows))
    found["prompt_embedding"] = standardised_shift(means, spread)
    return [night_test(name, distances) for name, distances in found.items()]


def night_test(name: str, distances: np.ndarray) -> ColumnTest:
    """How unusual the last of these nights (nights,) is in one column of the questions."""
    excess, unusual = beyond_usual(distances[None])
    p_value = float(student_p_values(unusual[:, -1], len(distances) - 1)[0])
    return ColumnTest(name, INPUT, NIGHTS, p_value, float(distances[-1]), float(excess[0, -1]))


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _categories(counts: Iterable[Mapping[str, int]]) -> np.ndarray:
    return total_variation(_shares([list(Counter(night).elements()) for night in counts], lump=True))


def _shares(values: Sequence[Sequence[Any]], lump: bool) -> np.ndarray:
    number = np.repeat(np.arange(len(values)), [len(night) for night in values])
    return shares_of(np.concatenate([np.asarray(night) for night in values]), number, lump=lump)
