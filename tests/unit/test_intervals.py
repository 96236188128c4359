"""The intervals hold what they promise, shown by simulation over many draws."""

import numpy as np
import pytest

from pipelines.policy.stats.intervals import bootstrap_mean, paired_difference


@pytest.mark.parametrize(("n", "share"), [(240, 0.1), (240, 0.45), (60, 0.5)])
def test_the_interval_covers_as_often_as_it_says(n, share):
    rng = np.random.default_rng(1)
    hits = 0
    for draw in range(600):
        found = bootstrap_mean(rng.random(n) < share, 400, 0.95, draw)
        hits += found.low <= share <= found.high
    assert 0.92 <= hits / 600 <= 0.98


def test_the_paired_interval_covers_and_is_the_narrower_one():
    rng = np.random.default_rng(2)
    hits, narrower = 0, 0
    for draw in range(400):
        before = (rng.random(240) < 0.3).astype(float)
        gained = rng.random(240) < 0.1  # a tenth of the items become right, whatever they were
        after = np.where(gained, 1.0, before)
        found = paired_difference(before, after, 400, 0.95, draw)
        hits += found.low <= 0.07 <= found.high
        unpaired = sum(np.ptp(bootstrap_mean(side, 400, 0.95, draw)[1:]) ** 2 for side in (before, after))
        narrower += (found.high - found.low) ** 2 < unpaired
    assert 0.92 <= hits / 400 <= 0.98
    assert narrower == 400


def test_no_difference_is_excluded_about_as_rarely_as_promised():
    rng = np.random.default_rng(3)
    alarms = 0
    for draw in range(600):
        before, after = rng.random((2, 120)) < 0.4
        found = paired_difference(before, after, 400, 0.95, draw)
        alarms += not found.low <= 0 <= found.high
    assert alarms / 600 <= 0.08


def test_equal_data_and_seed_give_equal_limits():
    values = np.random.default_rng(4).normal(size=50)
    first, again = (bootstrap_mean(values, 1_300, 0.9, 5) for _ in range(2))
    assert first == again
    assert first.low < first.value < first.high
    wider = bootstrap_mean(values, 1_300, 0.99, 5)
    assert wider.low < first.low < first.high < wider.high


def test_the_interval_agrees_with_resampling_by_hand():
    values = np.random.default_rng(6).normal(size=30)
    drawn = np.random.default_rng(7).choice(values, size=(20_000, 30)).mean(axis=1)
    wanted = values.mean() + (np.quantile(drawn, [0.05, 0.95]) - values.mean()) * np.sqrt(30 / 29)
    found = bootstrap_mean(values, 20_000, 0.9, 8)
    assert found.value == pytest.approx(values.mean())
    assert found[1:] == pytest.approx(wanted, abs=0.01)


def test_one_value_or_equal_values_give_a_point():
    assert bootstrap_mean([0.25], 100, 0.95, 0) == (0.25, 0.25, 0.25)
    assert bootstrap_mean([1.0] * 9, 100, 0.95, 0) == (1.0, 1.0, 1.0)


def test_without_values_there_is_no_interval():
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_mean([], 100, 0.95, 0)
