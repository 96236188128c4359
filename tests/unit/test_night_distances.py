"""Distances of nights from each other, and how unusual one is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from pipelines.policy.stats.nights import (
    beyond_usual,
    kolmogorov_smirnov,
    means_of,
    rank_p_values,
    shares_of,
    spread_around,
    standardised_shift,
    student_p_values,
    total_variation,
)


def test_distances_by_hand():
    shares = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    assert total_variation(shares) == pytest.approx([0.25, 0.25, 0.5])
    assert kolmogorov_smirnov(shares) == pytest.approx([0.25, 0.25, 0.5])
    means = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    assert standardised_shift(means, 2.5) == pytest.approx([1, 1, 2])
    assert standardised_shift(means, 0.0).tolist() == [0, 0, 0]


def test_every_night_weighs_the_same_and_rare_values_are_one():
    values = np.array(["a"] * 90 + ["b"] * 10 + ["a"] * 5 + ["c"] * 5)
    nights = np.repeat([0, 1], [100, 10])
    assert shares_of(values, nights, lump=False).tolist() == [[0.9, 0.1, 0], [0.5, 0, 0.5]]
    assert shares_of(values, nights, lump=True).tolist() == [[0.9, 0.1, 0], [0.5, 0, 0.5]]  # c alone is rare
    values[-1] = "d"
    assert shares_of(values, nights, lump=True).tolist() == [[0.9, 0.1, 0], [0.5, 0, 0.5]]  # c and d together
    means, spread = means_of(np.array([[1.0], [3.0], [2.0], [2.0]]), np.array([0, 0, 1, 1]))
    assert (means.tolist(), spread) == ([[2], [2]], pytest.approx(np.sqrt(0.5)))


def test_the_spread_of_rows_is_known_from_what_is_kept_of_nights():
    rng, nights = np.random.default_rng(3), np.repeat([0, 1, 2], [4, 9, 30])
    vectors = rng.normal(size=(43, 5)) + nights[:, None]
    means, spread = means_of(vectors, nights)
    squares = [(vectors[nights == night] ** 2).sum(axis=1).mean() for night in range(3)]
    assert spread_around(means, np.array(squares), np.array([4, 9, 30])) == pytest.approx(spread)


def test_how_unusual_is_a_studentised_residual():
    rng = np.random.default_rng(1)
    roots = rng.normal(10, 1, (1, 9))
    excess, unusual = beyond_usual(roots**2)
    for night in range(9):
        others = np.delete(roots[0], night)
        by_hand = (roots[0, night] - others.mean()) / (others.std(ddof=1) * np.sqrt(1 + 1 / 8))
        assert unusual[0, night] == pytest.approx(by_hand)
        assert excess[0, night] == pytest.approx(roots[0, night] ** 2 - (others**2).mean())


def test_the_residual_has_students_distribution():
    roots = np.random.default_rng(2).normal(10, 1, (4_000, 8))
    p_values = [student_p_values(one, 7)[0] for one in beyond_usual(roots**2)[1][:, -1:]]
    assert kstest(p_values, "uniform").pvalue > 0.001


def test_equal_nights_are_usual_and_the_first_to_differ_is_not():
    still = np.zeros((1, 9))
    assert beyond_usual(still)[1].tolist() == still.tolist()
    still[0, -1] = 0.2
    excess, unusual = beyond_usual(still)
    assert (excess[0, -1], unusual[0, -1]) == (pytest.approx(0.2), np.inf)
    assert np.isfinite(unusual[0, :-1]).all()
    assert student_p_values(unusual[:, -1], 8).tolist() == [0]


def test_ranks_count_tonight_and_ties():
    farthest = np.array([1.0, 2.0, 2.0, -np.inf])
    assert rank_p_values(np.array([3.0, 2.0, 0.0, -np.inf]), farthest) == pytest.approx([0.2, 0.6, 0.8, 1])
