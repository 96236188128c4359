"""The tests of a watch of live traffic: quiet without a change, and an alarm on one."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.drift import World, watch_by_night
from pipelines.core.config import Watch
from pipelines.operations.watch.compare import MOST_TESTS
from pipelines.policy.alerts.watch import ColumnTest, WatchVerdict, conclude
from pipelines.policy.alerts.watch_nights import questions_by_night, questions_of
from pipelines.policy.alerts.watch_tests import (
    WatchSide,
    WatchTests,
    at_most,
    binomial_test,
    feedback,
    rated,
)
from pipelines.policy.night.drift import ANSWER, INPUT
from pipelines.policy.stats.permutation import ks_test, permutations_needed

LABELS = ("heart", "skin", "tooth")
CENTRES = np.random.default_rng(1).normal(size=(3, 8))


def traffic(rng, n, shares=(0.5, 0.3, 0.2), right=0.6, refuses=0.1, disliked=0.3):
    """Rows with their embeddings: a question of one of three departments, answered and rated."""
    rows, vectors = [], []
    for wanted in rng.choice(3, n, p=shares):
        good = rng.random() < right
        answer = LABELS[wanted] if good else str(rng.choice(LABELS))
        dislikes = rng.random() < disliked
        rows.append(
            {
                "tenant": f"t{rng.integers(3)}",
                "subject_id": f"p{rng.integers(10**6)}",
                "locale": "en-GB",
                "channel": str(rng.choice(("web", "api"))),
                "messages": [{"role": "user", "content": "x" * int(rng.integers(5, 60))}],
                "completion": "I cannot help." if rng.random() < refuses else answer,
                "rating": -1 if dislikes else 1,
                "correction": LABELS[wanted] if dislikes else None,
            }
        )
        vectors.append(CENTRES[wanted] + rng.normal(size=8))
    unit = np.array(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return WatchSide(rows, unit, rng.beta(2, 8, n))


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(1):  # small matrices: threads only wait for each other
        yield


def look(before, now, errors, alpha, seed):
    watch_tests = WatchTests(permutations_needed(0, MOST_TESTS, alpha), seed)
    tests = watch_tests.questions(before, now, LABELS, 20) + watch_tests.answers(before, now, LABELS)
    tests += [feedback(rated(before.rows), rated(now.rows)), binomial_test("errors", errors, 500, 0.01)]
    return conclude(tests, alpha, {})


@pytest.mark.slow
def test_a_day_of_watches_keeps_its_false_alarm_rate():
    """No change, overlapping windows: a watch sees the last 40 rows, and the next one 10 new ones."""
    looks, alpha_day, days, false = 4, 0.2, 100, 0
    rng = np.random.default_rng(3)
    for day in range(days):
        before, stream = traffic(rng, 60), traffic(rng, 40 + 10 * looks)
        errors = rng.binomial(500, 0.01, looks)
        windows = (slice(10 * k, 10 * k + 40) for k in range(looks))
        found = [
            look(
                before,
                WatchSide(stream.rows[w], stream.vectors[w], stream.toxicity[w]),
                e,
                alpha_day / looks,
                day,
            )
            for w, e in zip(windows, errors, strict=True)
        ]
        false += any(one.verdict is WatchVerdict.ALARM for one in found)
    # A true rate of 20% gives more than this once in 1,000 runs of 100 days.
    assert false / days <= alpha_day + 3.1 * np.sqrt(alpha_day * (1 - alpha_day) / days)


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"shares": (0.1, 0.3, 0.6)}, INPUT),
        ({"refuses": 0.6}, ANSWER),
        ({"disliked": 0.75}, "feedback"),
        ({}, "serving"),
    ],
)
def test_a_change_is_found_at_the_default_rate_of_false_alarms(change, about):
    settings, rng = Watch(), np.random.default_rng(4)
    alpha = settings.alpha_day / settings.looks_per_day
    errors = 30 if about == "serving" else 5
    found = look(traffic(rng, 200), traffic(rng, 200, **change), errors, alpha, seed=1)
    assert found.verdict is WatchVerdict.ALARM
    assert found.alarms[about]
    assert any(reason.startswith(f"{about}: ") for reason in found.reasons)


def test_days_that_differ_keep_the_rate_where_nights_are_compared():
    rate = watch_by_night(World(people=60, night=0.3, weekend=1.0), days=200, seed=1)
    assert rate <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 200)


def test_a_change_among_days_that_differ_is_found():
    rng = np.random.default_rng(10)
    mixes = [*rng.dirichlet((150, 100, 70), 21).tolist(), (0.02, 0.03, 0.95)]
    nights = [questions_of(traffic(rng, 60, shares=mix), LABELS) for mix in mixes]
    tests = questions_by_night(nights, LABELS, 10)
    assert [test.column for test in tests] == [
        "tenant", "locale", "channel", "wanted_label", "prompt_length", "prompt_embedding",
    ]  # fmt: skip
    found = conclude(tests, Watch().alpha_day / Watch().looks_per_day, {}, 0.05)
    assert {row["column"] for row in found.columns if row["drifted"]} == {"wanted_label", "prompt_embedding"}
    assert next(test for test in tests if test.column == "locale").p_value == 0.5  # one value on all nights


def test_a_small_effect_is_no_alarm_and_a_limit_needs_none():
    tests = [
        ColumnTest("tenant", INPUT, "m", 1e-6, 0.1, 0.04),
        binomial_test("errors", 30, 500, 0.01),
    ]
    found = conclude(tests, 0.05, {}, smallest_effect=0.05)
    assert found.alarms == {INPUT: False, "serving": True}
    assert conclude(tests, 0.05, {}, smallest_effect=0.03).alarms[INPUT]


def test_the_permutations_can_reach_holms_first_step():
    alpha = Watch().alpha_day / Watch().looks_per_day
    assert 1 / (permutations_needed(0, MOST_TESTS, alpha) + 1) < alpha / MOST_TESTS


def test_ks_keeps_its_false_alarm_rate_with_many_ties():
    rng = np.random.default_rng(5)
    alarms = [
        ks_test(rng.integers(4, size=60), rng.integers(4, size=40), 199, rng).p_value <= 0.05
        for _ in range(400)
    ]
    assert np.mean(alarms) <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 400)


def test_ks_finds_a_shift_and_its_size():
    found = ks_test(np.arange(100.0), np.arange(100.0) + 40, 499, np.random.default_rng(6))
    assert found.p_value == 1 / 500
    assert found.effect == pytest.approx(0.4)
    assert ks_test(np.zeros(30), np.zeros(20), 99, np.random.default_rng(6)).p_value == 1


def test_fishers_exact_test_on_the_tea_table():
    """The tea-tasting table, 3 of 4 against 1 of 4: one-sided p = 17/70 (Agresti 2013, table 3.9)."""
    assert feedback((1, 4), (3, 4)).p_value == pytest.approx(17 / 70)
    assert feedback((4, 4), (0, 4)).p_value == pytest.approx(1)
    ways = sum(comb(9, k) * comb(11, 8 - k) for k in range(6, 9))  # 6 of 8 against 3 of 12, by hand
    assert feedback((3, 12), (6, 8)).p_value == pytest.approx(ways / comb(20, 8))
    assert feedback((30_000, 100_000), (3_300, 10_000)).p_value < 1e-9  # a day of a busy gateway


def test_the_binomial_test_by_hand():
    assert binomial_test("errors", 2, 2, 0.1).p_value == pytest.approx(0.01)
    assert binomial_test("errors", 0, 50, 0.1).p_value == 1
    assert binomial_test("errors", 3_000, 200_000, 0.01).p_value < 1e-9  # a day of a busy gateway


def test_too_little_data_is_no_alarm_and_says_why():
    found = conclude([], 0.05, {INPUT: "3 rows"})
    assert found.verdict is WatchVerdict.UNCLEAR
    assert found.reasons == ("input: cannot conclude, 3 rows.",)
    assert found.alarms == {}


def test_a_quiet_watch_says_what_it_could_not_conclude():
    found = conclude([binomial_test("errors", 1, 500, 0.01)], 0.05, {"feedback": "2 people rated"})
    assert (found.verdict, found.alarms) == (WatchVerdict.QUIET, {"serving": False})
    assert found.reasons == ("feedback: cannot conclude, 2 people rated.",)


def test_a_persons_ratings_and_wanted_labels_are_counted():
    row = {"tenant": "t", "subject_id": "p", "completion": "skin", "correction": None}
    rows = [{**row, "rating": -1}] * 5 + [{**row, "rating": None}, {**row, "subject_id": "q", "rating": 1}]
    assert rated(rows) == (1, 2)
    assert at_most(rows, 2) == [rows[0], rows[1], rows[6]]
    rng, watch_tests = np.random.default_rng(8), WatchTests(99, 1)
    before, now = traffic(rng, 50), traffic(rng, 50)
    assert "wanted_label" in {test.column for test in watch_tests.questions(before, now, LABELS, 20)}
    now.rows[0]["correction"], now.rows[0]["rating"] = None, -1
    assert "wanted_label" not in {test.column for test in watch_tests.questions(before, now, LABELS, 20)}
