"""Column drift through Evidently: we choose the tests, Evidently runs them and draws the page.

Evidently's own chi-square takes the reference's shares as known exactly. This alarms too often when the
reference is not much larger than the night. Above 1,000 rows Evidently's default is a distance with a fixed
threshold, not a test. Categories therefore use `policy.stats.permutation.homogeneity_test`, registered as an
Evidently test. Numbers use Evidently's two-sample Kolmogorov-Smirnov test, which is conservative for ties.
Embeddings are not tested here: Evidently's methods give no valid p-value for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.metrics import ValueDrift
from scipy.stats import ks_2samp

from pipelines.core.config import Task
from pipelines.core.conversations import normalise, question_text
from pipelines.policy.night.drift import ANSWER, INPUT, OPERATION, ColumnTest
from pipelines.policy.night.feedback import label_of
from pipelines.policy.stats.permutation import homogeneity_test, total_variation

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
CHI_SQUARE = "chi-square, relabelled"
FEWEST = 2  # known values on either side; a number that is less known is not compared
RANDOM_ID = re.compile(r"metric_[0-9a-f]{32}|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def frame_of(rows: Sequence[Mapping[str, Any]], task: Task, topics: Sequence[str]) -> pd.DataFrame:
    """Interactions as the structured columns above; `topics` holds each row's topic.

    `wanted_label` is the right answer as far as users told. It says what they ask, whatever the model
    answered, and sees a shift of the mix long before the texts show it. Without labels the task is
    not a classification, and neither label column is there.
    """
    spelling = {normalise(label): label for label in task.labels}
    wanted = [label_of(row["rating"], row["correction"], row["completion"]) for row in rows]
    frame = pd.DataFrame(
        {
            **{name: [row[name] for row in rows] for name in ("tenant", "locale", "channel")},
            "prompt_topic": list(topics),
            "wanted_label": ["none" if w is None else spelling.get(normalise(w), "other") for w in wanted],
            "completion_label": [spelling.get(normalise(row["completion"]), "other") for row in rows],
            "rating": ["none" if row["rating"] is None else str(row["rating"]) for row in rows],
            "has_correction": ["yes" if row["correction"] else "no" for row in rows],
            "prompt_length": [len(question_text(row["messages"], task.system_prompt)) for row in rows],
            "completion_length": [len(row["completion"]) for row in rows],
            **{name: [row[name] for row in rows] for name in ("tokens_in", "tokens_out", "latency_ms")},
        }
    )
    return frame if task.labels else frame.drop(columns=["wanted_label", "completion_label"])


def compare(
    reference: pd.DataFrame, tonight: pd.DataFrame, permutations: int, seed: int, threshold: float
) -> tuple[list[ColumnTest], str]:
    """Each column's test, and Evidently's self-contained page with `threshold` for a column's p-value."""
    _register(permutations, seed)
    categories = [name for name in CATEGORIES if name in tonight]
    numbers = [name for name in NUMBERS if min(reference[name].count(), tonight[name].count()) >= FEWEST]
    definition = DataDefinition(categorical_columns=categories, numerical_columns=numbers)
    methods = dict.fromkeys(categories, CHI_SQUARE) | dict.fromkeys(numbers, "ks")
    report = Report(
        [ValueDrift(column=name, method=method, threshold=threshold) for name, method in methods.items()]
    )
    snapshot = report.run(
        Dataset.from_pandas(tonight, data_definition=definition),
        Dataset.from_pandas(reference, data_definition=definition),
    )
    p_values = {m["config"]["column"]: float(m["value"]) for m in snapshot.dict()["metrics"]}
    tests = [_test(name, reference[name], tonight[name], p_values[name]) for name in methods]
    return tests, _stable_ids(snapshot.get_html_str(as_iframe=False))


def _register(permutations: int, seed: int) -> None:
    """Make the homogeneity test known to Evidently, which finds tests by name."""
    rng = np.random.default_rng(seed)

    def test(
        reference: pd.Series, tonight: pd.Series, _type: ColumnType, threshold: float
    ) -> tuple[float, bool]:
        p_value = homogeneity_test(reference.to_numpy(), tonight.to_numpy(), permutations, rng)
        return p_value, p_value <= threshold

    register_stattest(
        StatTest(CHI_SQUARE, f"{CHI_SQUARE}: p_value", allowed_feature_types=[ColumnType.Categorical]), test
    )


def _test(name: str, reference: pd.Series, tonight: pd.Series, p_value: float) -> ColumnTest:
    before, now = reference.to_numpy(), tonight.to_numpy()
    if name in CATEGORIES:
        return ColumnTest(name, CATEGORIES[name], CHI_SQUARE, p_value, total_variation(before, now))
    before, now = (values.dropna().astype(float).to_numpy() for values in (reference, tonight))
    distance = float(ks_2samp(before, now, method="asymp").statistic)  # the p-value above is Evidently's
    return ColumnTest(name, NUMBERS[name], "Kolmogorov-Smirnov", p_value, distance)


def _stable_ids(html: str) -> str:
    """Number the random ids of the page's elements, so that equal data give equal bytes."""
    seen: dict[str, str] = {}
    return RANDOM_ID.sub(lambda match: seen.setdefault(match[0], f"id{len(seen):04d}"), html)
