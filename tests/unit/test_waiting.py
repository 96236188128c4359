"""Candidates that wait for fresh rows: what the e-process promises, its power, and when one is dropped."""

import math

import numpy as np
import pytest
from scipy.stats import multinomial

from benchmarks.waiting_worlds import World, better_from, drifting, once_a_week, simulate, steady
from pipelines.core.config import Gate
from pipelines.policy.night.waiting import FreshRows, answer_of, first_level, in_words, passes, values_of
from pipelines.policy.stats.betting import log_evidence, rows_until

CHANGES = (1.0, -1.0, 0.0)
GATE = Gate(rating_odds=1, max_nights_waiting=30)


def expected_stake(nights, margin):
    """The exact expectation after nights of (rows, share won, share lost), which share one average."""
    found = [
        [((g, k, n - g - k), multinomial.pmf((g, k, n - g - k), n, (won, lost, 1 - won - lost)))
         for g in range(n + 1) for k in range(n + 1 - g)]
        for n, won, lost in nights
    ]  # fmt: skip
    total = 0.0
    for first, chance in found[0]:
        for second, other in found[1]:
            counts = np.add(first, second)
            total += chance * other * math.exp(log_evidence(counts, CHANGES, margin))
    return total


@pytest.mark.parametrize("differ", [0.05, 0.3, 0.9])
def test_the_stake_is_fair_at_the_margin(differ):
    won, lost = (differ + 0.02) / 2, (differ - 0.02) / 2
    assert expected_stake([(6, won, lost), (6, won, lost)], 0.02) == pytest.approx(1, abs=1e-9)


def test_a_good_night_and_a_bad_one_win_nothing_on_average():
    assert 0 < expected_stake([(6, 0.4, 0.1), (6, 0.1, 0.36)], 0.02) < 1
    assert expected_stake([(6, 0.4, 0.1), (6, 0.3, 0.1)], 0.02) > 1.1


def test_many_rows_and_extreme_margins_stay_finite():
    for margin in (-1.0, 0.0, 1.0):
        found = log_evidence(
            [[0, 0, 0], [1, 0, 0], [0, 1_000_000, 0], [500_000, 0, 500_000]], CHANGES, margin
        )
        assert np.isfinite(found).all()
        assert found[0] == pytest.approx(0)


@pytest.mark.parametrize("rows", [20, 400])
def test_a_year_of_bad_candidates_keeps_the_promise(rows):
    for world in (World("never", steady(0.02)), World("weeks", drifting(0.02, 0.08))):
        false = simulate(world, rows, GATE, 40, 365, 1).false
        assert false.mean() <= GATE.false_passes_a_year + 3 * false.std() / np.sqrt(len(false))


POOL = World("pool", steady(0.02), odds=2)  # people label what the candidate wins twice as often


def test_a_pool_beside_rows_of_users_keeps_the_promise():
    for world, pool in ((POOL, 100), (World("weeks", drifting(0.02, 0.08)), 40)):
        gate = Gate(max_nights_waiting=30)
        false = simulate(world, 100, gate, 40, 365, 1, pool, suite=240).false
        assert false.mean() <= GATE.false_passes_a_year + 3 * false.std() / np.sqrt(len(false))


def test_a_pool_finds_what_a_suite_cannot_tell():
    """Each candidate answers the suite as the last one did."""
    world = World("alike", better_from(0, 0.05), alike=True)
    days = {
        pool: simulate(world, 0, Gate(max_nights_waiting=30 if pool else 0), 40, 60, 1, pool, 240).first
        for pool in (0, 100)
    }
    assert (days[0] < 30).mean() < 0.3
    assert (days[100] < 30).mean() > 0.5


def test_many_rows_of_users_do_not_outweigh_a_pool():
    """With odds 2, rows alone speak against it: 1,500 won count as 750, 1,000 are lost."""
    rows, items, gate = (1_500, 1_000, 10_000), (60, 10, 130), Gate(max_nights_waiting=30)
    assert answer_of(FreshRows(0.01, rows, 2), gate) == "drop"
    assert answer_of(FreshRows(0.01, rows, 2, items), gate) == "pass"
    assert answer_of(FreshRows(0.01, rows, 2, (12, 8, 180)), gate) == "wait"
    assert answer_of(FreshRows(0.01, rows, 2, (8, 30, 162)), gate) == "drop"
    assert answer_of(FreshRows(0.01, (0, 0, 0), 2, (0, 0, 0)), gate) == "drop"


@pytest.mark.parametrize("odds", [1.0, 2.0])
def test_the_mean_of_both_stakes_is_fair(odds):
    """Exactly, over all outcomes of rows and items that are better by the margin."""
    won, lost, values = 0.16, 0.14, values_of(odds, with_pool=True)
    found = [(g, k, 5 - g - k) for g in range(6) for k in range(6 - g)]
    chance = [multinomial.pmf(one, 5, (won, lost, 1 - won - lost)) for one in found]
    counts = np.array([[*rows, *items] for rows in found for items in found])
    mass = np.outer(chance, chance).ravel()
    levels = np.geomspace(0.4, 1.9, 60)
    passed = np.array([passes(counts, values, 0.02, level) for level in levels])
    assert (passed @ mass <= levels / 2 + 1e-12).all()  # half of the level, by Markov's inequality
    assert passed[-1].any()


def test_waiting_finds_small_gains_that_one_night_cannot():
    world, one_night = World("weekly", once_a_week(0.05)), Gate(rating_odds=1, max_nights_waiting=0)
    assert simulate(world, 100, GATE, 40, 365, 1).right.mean() > 2
    assert simulate(world, 100, one_night, 40, 365, 1).right.mean() < 1


def test_power_does_not_end_with_the_first_nights():
    days = simulate(World("late", better_from(200, 0.1)), 100, GATE, 40, 260, 1).first - 200
    assert np.median(days) < 20


def test_the_two_tests_spend_the_level_once():
    assert first_level(0.02, waits=False) == 0.02
    almost = FreshRows(0.02, (20, 0, 20), nights=1)
    stake = math.exp(log_evidence(almost.counts, values_of(1), 0.02))
    assert answer_of(FreshRows(1.01 / stake * 2, (20, 0, 20), nights=1), GATE) == "pass"
    assert answer_of(FreshRows(0.99 / stake * 2, (20, 0, 20), nights=1), GATE) != "pass"
    assert first_level(0.02, waits=True) + 0.02 / 2 == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (FreshRows(0.01, nights=1), "drop"),  # no rows come
        (FreshRows(0.01, (1, 0, 0), nights=1), "wait"),  # one row tells nothing yet
        (FreshRows(0.01, (10, 4, 66), nights=1), "wait"),
        (FreshRows(0.01, (4, 10, 66), nights=1), "drop"),
        (FreshRows(0.01, (50, 4, 66), nights=1), "pass"),
        (FreshRows(0.01, (50, 4, 66), nights=30), "pass"),
        (FreshRows(0.01, (100, 40, 860), nights=29), "drop"),  # one night is left
    ],
)
def test_a_candidate_waits_while_it_can_still_pass(found, answer):
    assert answer_of(found, GATE) == answer


def test_rows_won_by_rating_count_less():
    by_rating = FreshRows(0.01, (50, 4, 66), nights=1)
    assert answer_of(by_rating, GATE) == "pass"
    assert answer_of(by_rating, Gate(rating_odds=20)) == "drop"


def test_the_forecast_is_about_right():
    """A difference of 10 points needs about as many rows as a candidate that waits takes."""
    needed = rows_until([15, 5, 80], CHANGES, 0.02, math.log(200))
    reached = 0
    while log_evidence(np.array([15, 5, 80]) * reached / 100, CHANGES, 0.02) < math.log(200):
        reached += 10
    assert 0.5 < (needed + 100) / reached < 2
    assert rows_until([5, 15, 80], CHANGES, 0.02, 5.0) == np.inf
    assert rows_until([900, 0, 0], CHANGES, 0.02, 5.0) == 0


def test_words_say_how_far_it_is():
    assert in_words(FreshRows(0.01, (10, 4, 66), nights=1), GATE).endswith("fresh rows in 1 night")
    assert in_words(FreshRows(0.01, (4, 10, 66), nights=2), GATE) == "80 fresh rows in 2 nights"
    pool = FreshRows(0.01, (4, 10, 66), 2, (4, 10, 6))
    assert in_words(pool, GATE) == "100 fresh rows, 20 of them items of the pool, in 2 nights"
