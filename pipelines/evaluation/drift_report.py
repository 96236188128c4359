"""Columns of interactions, their distances, and Evidently's page, which draws both sides of each column.

Evidently's own tests take rows as independent, and above 1,000 rows its default is a distance with a fixed
threshold. The distances of `policy.stats.nights` are therefore registered as Evidently's tests, and each
column gets the threshold that its own past nights set. `policy.night.drift` decides, not this page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.metrics import ValueDrift

from pipelines.core.config import Task
from pipelines.core.conversations import question_text
from pipelines.core.spelling import answer_form
from pipelines.policy.night.drift import ANSWER, INPUT, OPERATION, ColumnDistances
from pipelines.policy.night.feedback import label_of
from pipelines.policy.stats.nights import kolmogorov_smirnov, shares_of, total_variation

# What each column tells about; see pipelines.policy.night.drift.
CATEGORIES = {
    "tenant": INPUT,
    "locale": INPUT,
    "channel": INPUT,
    "prompt_topic": INPUT,
    "wanted_label": INPUT,
    "completion_label": ANSWER,
    "rating": ANSWER,
    "has_correction": ANSWER,
}
NUMBERS = {
    "prompt_length": INPUT,
    "tokens_in": INPUT,
    "completion_length": ANSWER,
    "tokens_out": ANSWER,
    "latency_ms": OPERATION,
}
TOTAL_VARIATION, KS = "total variation", "Kolmogorov-Smirnov distance"
FEWEST = 2  # known values of each night; a number that is less known is not compared
RANDOM_ID = re.compile(r"metric_[0-9a-f]{32}|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def frame_of(rows: Sequence[Mapping[str, Any]], task: Task, topics: Sequence[str]) -> pd.DataFrame:
    """Interactions as the structured columns above; `topics` holds each row's topic.

    `wanted_label` is the right answer as far as users told. It says what they ask, whatever the model
    answered, and sees a shift of the mix long before the texts show it. Without labels the task is
    not a classification, and neither label column is there.
    """
    spelling = {answer_form(label): label for label in task.labels}
    wanted = [label_of(row["rating"], row["correction"], row["completion"]) for row in rows]
    frame = pd.DataFrame(
        {
            **{name: [row[name] for row in rows] for name in ("tenant", "locale", "channel")},
            "prompt_topic": list(topics),
            "wanted_label": ["none" if w is None else spelling.get(answer_form(w), "other") for w in wanted],
            "completion_label": [spelling.get(answer_form(row["completion"]), "other") for row in rows],
            "rating": ["none" if row["rating"] is None else str(row["rating"]) for row in rows],
            "has_correction": ["yes" if row["correction"] else "no" for row in rows],
            "prompt_length": [len(question_text(row["messages"], task.system_prompt)) for row in rows],
            "completion_length": [len(row["completion"]) for row in rows],
            **{name: [row[name] for row in rows] for name in ("tokens_in", "tokens_out", "latency_ms")},
        }
    )
    return frame if task.labels else frame.drop(columns=["wanted_label", "completion_label"])


def frame_distances(
    frame: pd.DataFrame, nights: np.ndarray, kinds: np.ndarray | None = None
) -> list[ColumnDistances]:
    """Each column's distance of each night from the others; `nights` numbers each row's night from 0.

    `kinds` of the nights: the others are those of the same kind.

    A number that some night knows fewer than twice is left out.
    """
    found = []
    for name in [name for name in (*CATEGORIES, *NUMBERS) if name in frame]:
        values, known = frame[name].to_numpy(), frame[name].notna().to_numpy()
        if name in CATEGORIES:
            distances = total_variation(shares_of(values.astype(str), nights, lump=True), kinds)
            found.append(ColumnDistances(name, CATEGORIES[name], TOTAL_VARIATION, tuple(distances.tolist())))
        elif np.bincount(nights[known], minlength=nights.max() + 1).min() >= FEWEST:
            shares = shares_of(values[known].astype(float), nights[known], lump=False)
            distances = kolmogorov_smirnov(shares, kinds)
            found.append(ColumnDistances(name, NUMBERS[name], KS, tuple(distances.tolist())))
    return found


def draw_page(
    reference: pd.DataFrame, tonight: pd.DataFrame, columns: Sequence[ColumnDistances], smallest_effect: float
) -> str:
    """Evidently's self-contained page: each column's distance from all earlier nights together.

    It marks a column that is beyond any earlier night, and farther than usual by the smallest effect.
    """
    register_stattest(StatTest(TOTAL_VARIATION, TOTAL_VARIATION, [ColumnType.Categorical]), _categories)
    register_stattest(StatTest(KS, KS, [ColumnType.Numerical]), _numbers)
    drawn = [column for column in columns if column.column in reference]
    definition = DataDefinition(
        categorical_columns=[one.column for one in drawn if one.column in CATEGORIES],
        numerical_columns=[one.column for one in drawn if one.column in NUMBERS],
    )
    report = Report(
        [
            ValueDrift(column=one.column, method=one.method, threshold=_threshold(one, smallest_effect))
            for one in drawn
        ]
    )
    snapshot = report.run(
        Dataset.from_pandas(tonight, data_definition=definition),
        Dataset.from_pandas(reference, data_definition=definition),
    )
    return _stable_ids(snapshot.get_html_str(as_iframe=False))


def _threshold(column: ColumnDistances, smallest_effect: float) -> float:
    past = column.distances[:-1]
    return max(*past, sum(past) / len(past) + smallest_effect)


def _categories(
    reference: pd.Series, tonight: pd.Series, _type: ColumnType, threshold: float
) -> tuple[float, bool]:
    return _both_sides(total_variation, reference, tonight, threshold)


def _numbers(
    reference: pd.Series, tonight: pd.Series, _type: ColumnType, threshold: float
) -> tuple[float, bool]:
    return _both_sides(kolmogorov_smirnov, reference, tonight, threshold)


def _both_sides(
    distance: Callable[[np.ndarray], np.ndarray], reference: pd.Series, tonight: pd.Series, threshold: float
) -> tuple[float, bool]:
    before, now = reference.dropna(), tonight.dropna()
    sides = np.repeat([0, 1], [len(before), len(now)])
    values = np.concatenate([before.to_numpy(), now.to_numpy()])
    found = float(distance(shares_of(values, sides, lump=False))[1])
    return found, found > threshold


def _stable_ids(html: str) -> str:
    """Number the random ids of the page's elements, so that equal data give equal bytes."""
    seen: dict[str, str] = {}
    return RANDOM_ID.sub(lambda match: seen.setdefault(match[0], f"id{len(seen):04d}"), html)
