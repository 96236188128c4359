"""The decision on drift: false alarms and power by simulation, what counts as drift, too little history."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.drift import Shift, World, power, unchanged, unchanged_before, weekends
from pipelines.core.config import Drift
from pipelines.core.facts.drift import DriftFacts
from pipelines.policy.night.drift import (
    ANSWER,
    INPUT,
    OPERATION,
    RANK,
    STUDENT,
    ColumnDistances,
    judge_night,
    too_little,
    topic_shares,
    weekdays_to_match,
)
from pipelines.policy.night.drift_replay import possible_drift
from pipelines.policy.stats.holm import holm
from pipelines.policy.stats.nights import from_others
from tests.support.facts import facts_like

OLD_COLUMN = {
    "column": "tenant", "about": "input", "method": "chi-square, relabelled", "p_value": 0.001,
    "p_adjusted": 0.014, "moved": True, "drifted": True, "effect": 0.3,
}  # fmt: skip


def column(name, about, tonight, past=21):
    usual = np.linspace(0.05, 0.1, past)
    return ColumnDistances(name, about, "m", (*usual.tolist(), tonight))


def most(rate, n):
    """Above this, `n` independent nights come once in 1,000 at this rate."""
    return rate + 3.1 * np.sqrt(rate * (1 - rate) / n)


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        World(questions=1, people=60),
        World(questions=30, cap=0, people=20),
        World(questions=10, people=40, night=0.4),
        World(people=40, night=0.3, weekend=1.0),
    ],
)
def test_unchanged_nights_keep_the_rate_of_alarms(world):
    assert unchanged(world, past=21, nights=400, seed=3) <= most(0.05, 400)


def test_rows_taken_as_independent_alarm_on_most_nights():
    assert unchanged_before(World(questions=30, cap=0, people=20), nights=40, seed=3) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("past", [7, 13])
def test_a_short_history_keeps_the_rate_too(past):
    world = World(people=60, night=0.3, weekend=1.0)
    assert unchanged(world, past, nights=300, seed=4) <= most(0.06, 300)


@pytest.mark.slow
@pytest.mark.slow
def test_a_weekend_is_compared_with_weekends():
    world, nights = World(weekend=1.0), 200
    raised, on_weekends, small, large = weekends(world, True, nights)
    assert raised <= most(0.05, nights)
    assert on_weekends <= most(0.05, nights * 2 // 7)
    small_of_all, large_of_all = weekends(world, False, nights)[2:]
    assert small > small_of_all + 0.1
    assert large > large_of_all + 0.15


def test_weekdays_match_once_each_was_seen_three_times():
    three_weeks = [day % 7 for day in range(21)]
    matched = weekdays_to_match([*three_weeks, 4])
    assert matched is not None
    assert matched.tolist() == [*three_weeks, 4]
    assert weekdays_to_match([*three_weeks[1:], 4]) is None
    assert weekdays_to_match(()) is None


def test_a_night_is_measured_from_its_own_kind():
    values, kinds = np.array([[1.0], [3.0], [10.0], [10.0], [13.0]]), np.array([0, 0, 1, 1, 1])
    by_hand = [*np.array([-2, 2]) / np.sqrt(2), *np.array([-1.5, -1.5, 3]) / np.sqrt(1.5)]
    assert from_others(values, kinds)[:, 0] == pytest.approx(by_hand)
    noise = np.random.default_rng(5).normal(size=(7, 4_000))
    spread = from_others(noise, np.array([0, 0, 1, 1, 1, 1, 1])).std(axis=1)
    assert spread == pytest.approx(np.ones(7), abs=0.06)  # however many nights are of its kind


def test_a_change_is_found():
    assert power(World(people=60), Shift(asked=0.5), past=21, tries=60, seed=5) > 0.9
    assert power(World(people=60), Shift(asked=0.5), past=7, tries=60, seed=5) > 0.8
    assert power(World(people=60, night=0.3), Shift(asked=0.8), past=21, tries=60, seed=5) > 0.8


@pytest.mark.parametrize(("past", "rule"), [(7, STUDENT), (18, STUDENT), (19, RANK), (21, RANK)])
def test_ranks_decide_as_soon_as_they_suffice(past, rule):
    found = judge_night([column("tenant", INPUT, 0.9, past)], 0.05, 0.05, same_model=True)
    assert (found.drift, found.rule) == (True, rule)
    assert not judge_night([column("tenant", INPUT, 0.09, past)], 0.05, 0.0, same_model=True).drift


def test_a_small_effect_is_no_drift_however_unusual():
    one = ColumnDistances("tenant", INPUT, "m", (*np.linspace(0.010, 0.011, 21).tolist(), 0.05))
    assert not judge_night([one], 0.05, 0.05, same_model=True).drift
    assert judge_night([one], 0.05, 0.03, same_model=True).drift


def test_a_moved_answer_is_drift_only_for_the_same_model():
    columns = [
        column("tenant", INPUT, 0.08),
        column("rating", ANSWER, 0.5),
        column("latency_ms", OPERATION, 0.9),
    ]
    found = judge_night(columns, 0.05, 0.05, same_model=True)
    assert found.drift
    assert {row["column"] for row in found.columns if row["drifted"]} == {"rating"}
    found = judge_night(columns, 0.05, 0.05, same_model=False)
    assert not found.drift
    assert "latency_ms" in {row["column"] for row in found.columns if row["moved"]}


def test_an_operation_alone_is_no_drift():
    assert not judge_night([column("latency_ms", OPERATION, 1.0)], 0.05, 0.05, same_model=True).drift


@pytest.mark.parametrize("past", [0, 1, 2, 5, 6])
def test_less_than_a_week_of_nights_is_too_little(past):
    assert too_little(past, 200, 40) == f"{past} past nights with enough rows, 7 are needed"
    assert too_little(7, 200, 40) == ""
    assert too_little(past, 3, 40) == "3 rows of tonight count, 40 are needed"


def test_topics_come_by_the_size_of_their_change_and_add_up():
    rows = topic_shares(np.array([0, 0, 1, 1]), np.array([0, 2, 2, 2]), ["heart", "skin", "tooth"])
    assert [row["words"] for row in rows] == ["tooth", "skin", "heart"]
    changes = [abs(row["tonight_share"] - row["reference_share"]) for row in rows]
    assert all(a >= b for a, b in pairwise(changes))
    assert sum(row["tonight_share"] for row in rows) == pytest.approx(1)


def test_older_records_cannot_be_judged_at_another_level():
    facts = facts_like("drift", drift=True, columns=[OLD_COLUMN], permutations=2_000, same_model=True)
    old = DriftFacts.model_validate_json(json.dumps(facts))
    assert possible_drift(old, Drift())[0] == {True}
    assert possible_drift(old, Drift(alpha=0.01)) == (
        {True, False},
        "nights were not compared with each other then",
    )
    assert possible_drift(old, Drift(min_rows=101))[0] == {False}


def test_old_profiles_keep_their_relabellings_for_themselves():
    assert Drift.model_validate({"permutations": 99, "min_rows": 20}) == Drift(min_rows=20)
