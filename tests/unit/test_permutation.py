"""Permutation tests: valid without a shift, able to see one, and equal to exact values where these exist."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import fisher_exact, ks_2samp, kstest

from pipelines.policy.stats.permutation import (
    ENOUGH,
    Moved,
    energy_test,
    homogeneity_test,
    ks_test,
    permutations_needed,
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
        homogeneity_test(
            rng.choice(len(shares), 300, p=shares), rng.choice(len(shares), 120, p=shares), 199, rng
        ).p_value
        <= 0.05
        for _ in range(DRAWS)
    ]
    assert np.mean(alarms) <= AT_MOST


def test_categories_see_a_shift():
    rng = np.random.default_rng(2)
    before, now = rng.choice(4, 300, p=[0.4, 0.3, 0.2, 0.1]), rng.choice(4, 120, p=[0.1, 0.2, 0.3, 0.4])
    found = homogeneity_test(before, now, 499, rng)
    assert found.p_value == 1 / 500
    assert found.effect == pytest.approx(0.4, abs=0.1)
    assert found.usual < 0.1


def test_one_category_is_no_evidence():
    found = homogeneity_test(np.zeros(50), np.zeros(40), 99, np.random.default_rng(0))
    assert found == Moved(1, pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))


def test_embeddings_alarm_at_most_at_the_nominal_rate():
    rng = np.random.default_rng(3)
    alarms = [
        energy_test(unit(rng.normal(size=(60, 8))), unit(rng.normal(size=(25, 8))), 199, rng).p_value <= 0.05
        for _ in range(DRAWS)
    ]
    assert np.mean(alarms) <= AT_MOST


def test_embeddings_with_equal_rows_keep_the_nominal_rate():
    rng = np.random.default_rng(4)
    few = unit(rng.normal(size=(3, 8)))
    alarms = [
        energy_test(few[rng.integers(3, size=60)], few[rng.integers(3, size=25)], 199, rng).p_value <= 0.05
        for _ in range(DRAWS)
    ]
    assert np.mean(alarms) <= AT_MOST


def test_people_who_ask_a_great_deal_keep_the_nominal_rate():
    """40 and 20 people ask about one thing each, five times. Rows that count as independent alarm often."""
    rng, centres = np.random.default_rng(11), unit(np.random.default_rng(12).normal(size=(6, 8)))
    people = np.repeat(np.arange(60), 5)
    alarms = []
    for _ in range(150):
        wanted = rng.integers(6, size=60)[people]
        vectors = unit(centres[wanted] + 0.2 * rng.normal(size=(300, 8)))
        values = wanted + rng.random(300)
        alarms.append(
            [
                homogeneity_test(wanted[:200], wanted[200:], 99, rng, people).p_value <= 0.05,
                ks_test(values[:200], values[200:], 99, rng, people).p_value <= 0.05,
                energy_test(vectors[:200], vectors[200:], 99, rng, people).p_value <= 0.05,
                homogeneity_test(wanted[:200], wanted[200:], 99, rng).p_value <= 0.05,
            ]
        )
    shares = np.mean(alarms, axis=0)
    assert shares[:3].max() <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 150)
    assert shares[3] > 0.4


def test_somebody_on_both_sides_may_change_sides_twice():
    rng, people = np.random.default_rng(13), np.tile(np.arange(10), 6)
    values = people + 20 * (np.arange(60) >= 30)
    assert ks_test(values[:30], values[30:], 499, rng, people).p_value == 1 / 500


def test_embeddings_see_a_shift_and_say_how_large():
    rng = np.random.default_rng(5)
    before = unit(rng.normal(size=(200, 16)))
    small, large = (unit(rng.normal(size=(80, 16)) + shift) for shift in (0.2, 1.0))
    slightly, far = energy_test(before, small, 499, rng), energy_test(before, large, 499, rng)
    assert far.p_value == 1 / 500
    assert slightly.p_value <= 0.05
    assert 0 < slightly.usual < slightly.effect < far.effect <= 1


def test_energy_equals_its_definition():
    rng = np.random.default_rng(6)
    x, y = unit(rng.normal(size=(7, 4))), unit(rng.normal(size=(5, 4)))

    def mean(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2).mean()

    expected = (2 * mean(x, y) - mean(x, x) - mean(y, y)) / (2 * mean(x, y))
    assert energy_test(x, y, 9, rng).effect == pytest.approx(np.sqrt(expected), rel=1e-3)


def test_the_ks_effect_is_the_largest_gap():
    rng = np.random.default_rng(8)
    assert ks_test(np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6]), 9, rng).effect == pytest.approx(0.5)
    assert ks_test(np.array([1, 1]), np.array([1, 1]), 9, rng) == Moved(1, 0, 0)
    before, now = rng.integers(9, size=70), rng.integers(12, size=40)
    assert ks_test(before, now, 9, rng).effect == pytest.approx(ks_2samp(before, now).statistic)


def test_p_values_agree_with_those_over_all_relabellings():
    """All 462 ways to call five of these eleven numbers tonight's, against 20,000 random ones."""
    values, rng = np.array([1, 2, 2, 3, 5, 4, 4, 6, 7, 7, 8]), np.random.default_rng(9)
    gaps = []
    for chosen in itertools.combinations(range(11), 5):
        now = values[list(chosen)]
        gaps.append(ks_2samp(np.delete(values, chosen), now).statistic)
    observed = ks_2samp(values[:6], values[6:]).statistic
    exact = np.mean(np.array(gaps) >= observed - 1e-9)
    assert ks_test(values[:6], values[6:], 20_000, rng).p_value == pytest.approx(exact, abs=0.01)


def test_categories_agree_with_fishers_test_on_a_table_of_four():
    """With two categories, the two-sided exact test over the same hypergeometric counts."""
    before, now = np.repeat([0, 1], [30, 10]), np.repeat([0, 1], [12, 13])
    exact = fisher_exact([[30, 10], [12, 13]]).pvalue
    found = homogeneity_test(before, now, 20_000, np.random.default_rng(10))
    assert found.p_value == pytest.approx(exact, abs=0.01)


def test_relabelling_that_ends_early_keeps_the_nominal_rate():
    """Most p-values end early at 999 relabellings; small ones take all of them."""
    rng = np.random.default_rng(14)
    found = [ks_test(rng.random(20), rng.random(15), 999, rng).p_value for _ in range(DRAWS)]
    assert np.mean(np.array(found) <= 0.05) <= AT_MOST
    early = [p_value for p_value in found if p_value > (ENOUGH + 1) / 1_000]
    assert len(early) > DRAWS / 2
    assert all(ENOUGH / p_value == pytest.approx(round(ENOUGH / p_value)) for p_value in early)
    assert kstest(found, "uniform").pvalue > 0.001


def test_enough_permutations_for_the_first_step_of_holm():
    assert permutations_needed(500, 14, 0.05) == 560
    assert permutations_needed(1_000, 14, 0.05) == 1_000
    assert 1 / (permutations_needed(1, 14, 0.01) + 1) < 0.01 / 14
