"""The decision on drift: columns corrected together, and what counts as drift."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pipelines.policy.night.drift import (
    ANSWER,
    INPUT,
    OPERATION,
    ColumnTest,
    drifted_columns,
    topic_shares,
)
from pipelines.policy.stats.holm import holm


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_keeps_the_family_wise_rate():
    rng = np.random.default_rng(7)
    alarms = [min(holm(rng.uniform(size=14))) <= 0.05 for _ in range(2_000)]
    assert np.mean(alarms) <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 2_000)


def test_a_moved_answer_is_drift_only_for_the_same_model():
    moved, still = 1e-4, 0.7
    tests = [
        ColumnTest("tenant", INPUT, "m", still, 0.0),
        ColumnTest("rating", ANSWER, "m", moved, 0.4),
        ColumnTest("latency_ms", OPERATION, "m", moved, 0.9),
    ]
    drift, rows = drifted_columns(tests, 0.05, same_model=True)
    assert drift
    assert {row["column"] for row in rows if row["drifted"]} == {"rating"}
    drift, rows = drifted_columns(tests, 0.05, same_model=False)
    assert not drift
    assert {row["column"] for row in rows if row["moved"]} == {"rating", "latency_ms"}


def test_an_operation_alone_is_no_drift():
    assert not drifted_columns([ColumnTest("latency_ms", OPERATION, "m", 1e-6, 1.0)], 0.05, same_model=True)[
        0
    ]


def test_topics_come_by_the_size_of_their_change_and_add_up():
    rows = topic_shares(np.array([0, 0, 1, 1]), np.array([0, 2, 2, 2]), ["heart", "skin", "tooth"])
    assert [row["words"] for row in rows] == ["tooth", "skin", "heart"]
    changes = [abs(row["tonight_share"] - row["reference_share"]) for row in rows]
    assert all(a >= b for a, b in pairwise(changes))
    assert sum(row["tonight_share"] for row in rows) == pytest.approx(1)
