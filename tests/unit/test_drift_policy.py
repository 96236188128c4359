"""The tests behind the drift verdict: valid under no shift, able to see a shift, corrected together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pipelines.policy.night.drift import (
    ANSWER,
    INPUT,
    OPERATION,
    ColumnTest,
    energy,
    holm,
    homogeneity,
    judge,
    kolmogorov_smirnov,
    permutations_needed,
    topic_shares,
    total_variation,
)

DRAWS = 400
# A rate of 5% over 400 draws exceeds this in 1 of 1,000 runs.
AT_MOST = 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / DRAWS)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "shares",
    [[0.5, 0.5], [0.97, 0.01, 0.01, 0.01], [0.3, 0.2] + [0.02] * 25],
    ids=["even", "rare", "many"],
)
def test_categories_alarm_at_most_at_the_nominal_rate(shares):
    rng = np.random.default_rng(1)
    alarms = [
        homogeneity(rng.choice(len(shares), 300, p=shares), rng.choice(len(shares), 120, p=shares), 199, rng)
        <= 0.05
        for _ in range(DRAWS)
    ]
    assert np.mean(alarms) <= AT_MOST


def test_categories_see_a_shift():
    rng = np.random.default_rng(2)
    before, now = rng.choice(4, 300, p=[0.4, 0.3, 0.2, 0.1]), rng.choice(4, 120, p=[0.1, 0.2, 0.3, 0.4])
    assert homogeneity(before, now, 499, rng) == 1 / 500
    assert total_variation(before, now) == pytest.approx(0.4, abs=0.1)


def test_one_category_is_no_evidence():
    assert homogeneity(np.zeros(50), np.zeros(40), 99, np.random.default_rng(0)) == 1


def test_embeddings_alarm_at_most_at_the_nominal_rate():
    rng = np.random.default_rng(3)
    alarms = [
        energy(unit(rng.normal(size=(60, 8))), unit(rng.normal(size=(25, 8))), 199, rng)[0] <= 0.05
        for _ in range(DRAWS)
    ]
    assert np.mean(alarms) <= AT_MOST


def test_embeddings_with_many_equal_rows_alarm_at_most_at_the_nominal_rate():
    rng = np.random.default_rng(4)
    few = unit(rng.normal(size=(3, 8)))
    alarms = [
        energy(few[rng.integers(3, size=60)], few[rng.integers(3, size=25)], 199, rng)[0] <= 0.05
        for _ in range(DRAWS)
    ]
    assert np.mean(alarms) <= AT_MOST


def test_embeddings_see_a_shift_and_say_how_large():
    rng = np.random.default_rng(5)
    before = unit(rng.normal(size=(200, 16)))
    small, large = (unit(rng.normal(size=(80, 16)) + shift) for shift in (0.2, 1.0))
    p_small, effect_small = energy(before, small, 499, rng)
    p_large, effect_large = energy(before, large, 499, rng)
    assert p_large == 1 / 500
    assert p_small <= 0.05
    assert 0 < effect_small < effect_large <= 1


def test_energy_equals_its_definition():
    rng = np.random.default_rng(6)
    x, y = unit(rng.normal(size=(7, 4))), unit(rng.normal(size=(5, 4)))

    def mean(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2).mean()

    expected = (2 * mean(x, y) - mean(x, x) - mean(y, y)) / (2 * mean(x, y))
    assert energy(x, y, 9, rng)[1] == pytest.approx(expected, rel=1e-3)


def test_kolmogorov_smirnov_is_the_largest_gap():
    assert kolmogorov_smirnov(np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6])) == pytest.approx(0.5)
    assert kolmogorov_smirnov(np.array([1, 1]), np.array([1, 1])) == 0


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_keeps_the_family_wise_rate():
    rng = np.random.default_rng(7)
    alarms = [min(holm(rng.uniform(size=14))) <= 0.05 for _ in range(2_000)]
    assert np.mean(alarms) <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 2_000)


def test_enough_permutations_for_the_first_step_of_holm():
    assert permutations_needed(500, 14, 0.05) == 560
    assert permutations_needed(1_000, 14, 0.05) == 1_000
    assert 1 / (permutations_needed(1, 14, 0.01) + 1) < 0.01 / 14


def test_a_moved_answer_is_drift_only_while_the_same_model_answers():
    moved, still = 1e-4, 0.7
    tests = [
        ColumnTest("tenant", INPUT, "m", still, 0.0),
        ColumnTest("rating", ANSWER, "m", moved, 0.4),
        ColumnTest("latency_ms", OPERATION, "m", moved, 0.9),
    ]
    drift, rows = judge(tests, 0.05, same_model=True)
    assert drift
    assert {row["column"] for row in rows if row["drifted"]} == {"rating"}
    drift, rows = judge(tests, 0.05, same_model=False)
    assert not drift
    assert {row["column"] for row in rows if row["moved"]} == {"rating", "latency_ms"}


def test_an_operation_alone_is_no_drift():
    assert not judge([ColumnTest("latency_ms", OPERATION, "m", 1e-6, 1.0)], 0.05, same_model=True)[0]


def test_topics_come_by_the_size_of_their_change_and_add_up():
    rows = topic_shares(np.array([0, 0, 1, 1]), np.array([0, 2, 2, 2]), ["heart", "skin", "tooth"])
    assert [row["words"] for row in rows] == ["tooth", "skin", "heart"]
    changes = [abs(row["tonight_share"] - row["reference_share"]) for row in rows]
    assert all(a >= b for a, b in pairwise(changes))
    assert sum(row["tonight_share"] for row in rows) == pytest.approx(1)
