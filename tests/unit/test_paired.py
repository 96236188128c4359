"""The limits of a mean: against exact tests, over all outcomes, and far out in the tail."""

from math import comb

import numpy as np
import pytest
from scipy.stats import beta, multinomial

from pipelines.policy.stats.paired import mean_limits, mean_p_value

TERNARY = (1.0, -1.0, 0.0)


@pytest.mark.parametrize("alpha", [0.4, 0.05, 1e-3, 1e-9])
@pytest.mark.parametrize(
    ("ones", "n"), [(0, 1), (1, 1), (3, 20), (500, 1_000), (1, 1_000), (99_999, 100_000)]
)
def test_binary_limits_are_clopper_pearson(ones, n, alpha):
    low, high = mean_limits((0, 1), alpha, alpha, bounds=(0, 1), counts=(n - ones, ones))
    assert low == pytest.approx(beta.ppf(alpha, ones, n - ones + 1) if ones else 0, rel=1e-4)
    assert 1 - high == pytest.approx(beta.ppf(alpha, n - ones, ones + 1) if ones < n else 0, rel=1e-4)


@pytest.mark.parametrize(
    ("gains", "losses", "same"), [(9, 1, 30), (3, 0, 9), (8, 2, 5), (30, 16, 200), (75, 5, 0)]
)
def test_against_zero_it_is_the_exact_mcnemar_test(gains, losses, same):
    n = gains + losses
    exact = sum(comb(n, k) for k in range(gains, n + 1)) / 2**n
    assert mean_p_value(TERNARY, 0, counts=(gains, losses, same)) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("alpha", [0.3, 0.00125, 1e-12])
@pytest.mark.parametrize("values", [[1.0, 0.0, -1.0, 1.0] * 20, [0.5, 0.125, -1.0, 1 / 3] * 9, [0.2]])
def test_the_p_value_agrees_with_the_limit(values, alpha):
    low, _ = mean_limits(values, alpha, 0.5)
    assert mean_p_value(values, low) == pytest.approx(alpha, rel=1e-3)


@pytest.mark.parametrize("support", [(1.0, -1.0, 0.0), (1.0, -1.0, 0.5), (0.2, -1.0, 0.0), (1.0, -0.1, 0.0)])
@pytest.mark.parametrize("margin", [-0.05, 0.0, 0.02])
def test_no_distribution_at_the_margin_beats_its_level(support, margin):
    """Adds up, over all outcomes of 16 items, what each of many distributions lets pass."""
    n = 16
    outcomes = [(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]
    p_values = np.array([mean_p_value(support, margin, counts=counts) for counts in outcomes])
    passed = p_values[:, None] <= np.array([0.3, 0.05, 0.00125, 1e-5])
    for of_zero in np.linspace(0, 0.98, 15):
        gain = (margin - of_zero * support[2] - (1 - of_zero) * support[1]) / (support[0] - support[1])
        if 0 <= gain <= 1 - of_zero:
            chances = multinomial.pmf(outcomes, n, [gain, 1 - of_zero - gain, of_zero])
            assert (chances @ passed <= np.array([0.3, 0.05, 0.00125, 1e-5])).all()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(0.3, 3.0), (1.0, 1.0), (5.0, 0.5)])
def test_limits_of_skewed_scores_cover_their_mean(shape):
    rng = np.random.default_rng(8)
    mean = 2 * shape[0] / sum(shape) - 1
    limits = [mean_limits(rng.beta(*shape, 25) * 2 - 1, 0.05, 0.05) for _ in range(300)]
    missed = np.mean([(low > mean, high < mean) for low, high in limits], axis=0)
    assert missed.max() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_a_million_different_values_have_limits():
    values = np.random.default_rng(1).uniform(-1, 1, 1_000_000)
    low, high = mean_limits(values, 1e-6, 1e-6)
    assert values.mean() - 0.005 < low < values.mean() < high < values.mean() + 0.005


def test_edges():
    assert mean_limits([], 0.05, 0.05) == (-1, 1)
    assert mean_limits([0.0], 0.0, 0.0) == (-1, 1)
    assert mean_limits([0.25], 1.0, 1.0) == (0.25, 0.25)
    assert (mean_p_value([], 0.02), mean_p_value([1.0], -1), mean_p_value([1.0], 1)) == (1, 0, 1)


@pytest.mark.parametrize("value", [float("nan"), 1.5, -1.001])
def test_a_value_out_of_bounds_is_refused(value):
    with pytest.raises(AssertionError, match="out of bounds"):
        mean_limits([0.0, value], 0.05, 0.05)
