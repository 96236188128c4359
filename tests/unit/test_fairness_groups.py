"""Which groups fairness judges, and whether its promises hold: simulated false holds, and harm found."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.config import Fairness, Gate
from pipelines.core.facts.fairness import FairnessFacts, FairnessPlan, SliceFinding
from pipelines.policy.night.fairness import compare, overall
from pipelines.policy.night.groups import (
    NOWHERE,
    SMALLER,
    Rule,
    chance_to_stop,
    enough_items,
    least_found,
    pooled,
    smallest_group,
)
from pipelines.policy.night.open_groups import answer_for
from tests.support.fuzz import examples

ALPHA, MARGIN, LARGE = 0.05, 0.1, 0.3
NIGHTS, GROUPS = 300, 30


@pytest.mark.parametrize("groups", [1, 2, 7, 42, 200, 1000])
def test_a_fall_from_all_right_to_all_wrong_is_found(groups):
    n = smallest_group(groups, ALPHA)
    assert compare([0.0] * n, [1.0] * n, MARGIN, ALPHA, groups).answer == "worse"
    assert compare([0.0] * (n - 1), [1.0] * (n - 1), MARGIN, ALPHA, groups).answer == "cannot conclude"


def test_small_groups_are_pooled_by_the_hierarchy():
    tenants = ["big"] * 30 + ["a"] * 4 + ["b"] * 6
    assert pooled("tenant", tenants, 10) == ["big"] * 30 + [SMALLER] * 10
    assert pooled("tenant", tenants, 11) == ["big"] * 30 + [NOWHERE] * 10
    locales = ["en-GB"] * 10 + ["en-NG"] * 4 + ["en_IN"] * 6 + ["de-DE"] * 5 + ["fr-FR"] * 5 + ["nl"]
    english, others = "en: the smaller ones", [SMALLER] * 11
    assert pooled("locale", locales, 10) == ["en-GB"] * 10 + [english] * 10 + others
    assert pooled("tenant", [], 10) == []


@settings(max_examples=examples(), deadline=None)
@given(st.lists(st.sampled_from(["en-GB", "en-US", "de-DE", "fr-FR", "nl"]), max_size=60), st.integers(1, 30))
def test_every_group_that_is_judged_is_large_enough(values, smallest):
    names = pooled("locale", values, smallest)
    assert len(names) == len(values)
    for value, name in zip(values, names, strict=True):
        assert name == NOWHERE or names.count(name) >= smallest
        assert values.count(value) < smallest or name == value


def test_the_plan_grows_with_the_items_and_falls_with_the_groups():
    few, many = Rule(5, MARGIN, LARGE, ALPHA), Rule(200, MARGIN, LARGE, ALPHA)
    found = [least_found(n, few) for n in (29, 60, 240, 10_000)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(MARGIN, abs=0.02)
    assert least_found(100, many) > least_found(100, few)
    assert 0 < least_found(1, few) <= 1
    assert least_found(1_000_000, many) == pytest.approx(MARGIN, abs=0.02)


@cache
def finding(n, better, worse, groups):
    before, after = np.zeros(n), np.zeros(n)
    before[:better], after[better : better + worse] = 1, 1
    found = compare(before.tolist(), after.tolist(), MARGIN, ALPHA, groups)
    return SliceFinding(slice="tenant", value="x", **dict(found))


def nights(n, churn, harm=0.0, large=LARGE, seed=1):
    """The gate's answer on nights of GROUPS groups of `n` items; the harm of the first one grew by `harm`."""
    rng, back = np.random.default_rng(seed), min(churn, (1 - harm) / 2)
    others = [(churn, churn, 1 - 2 * churn)] * (GROUPS - 1)
    counts = rng.multinomial(n, [(back, back + harm, 1 - 2 * back - harm), *others], (NIGHTS, GROUPS))
    plan = FairnessPlan(smallest_group=n, large_harm=large, groups=())
    answers = []
    for night in counts.tolist():
        groups = tuple(finding(n, better, worse, GROUPS) for better, worse, _ in night)
        facts = FairnessFacts(plan=plan, slices=groups, answer=overall([one.answer for one in groups]))
        answers.append(answer_for(facts, Gate())[0])
    return np.array(answers)


@pytest.mark.slow
@pytest.mark.parametrize("large", [0.3, 0.4])
def test_equal_candidates_pass_at_the_smallest_group(large):
    n = enough_items(large, ALPHA)
    planned = nights(n, 0.1, large=large)
    assert (planned == "fail").mean() <= 0.05
    assert (planned != "pass").mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / NIGHTS)
    assert (nights(2 * n, 0.1, large=large) != "pass").mean() <= 0.02


@pytest.mark.slow
def test_a_large_harm_of_one_group_stops_the_candidate():
    n = enough_items(LARGE, ALPHA)
    planned = least_found(n, Rule(GROUPS, MARGIN, LARGE, ALPHA))
    assert (nights(n, 0.1, harm=planned) != "pass").mean() >= 0.8 - 0.05
    assert (nights(n, 0.1, harm=1.0) == "fail").all()


@pytest.mark.slow
@pytest.mark.parametrize(("n", "growth", "churn"), [(29, 0.4, 0.1), (29, 0.2, 0.2), (60, 0.3, 0.05)])
def test_the_planned_chance_is_the_simulated_one(n, growth, churn):
    rule = Rule(GROUPS, MARGIN, LARGE, ALPHA)
    rng = np.random.default_rng(3)
    counts = rng.multinomial(n, (churn, churn + growth, 1 - 2 * churn - growth), 2000).tolist()
    found = [finding(n, better, worse, GROUPS) for better, worse, _ in counts]
    stopped = np.mean([one.answer == "worse" or one.difference >= LARGE for one in found])
    expected = chance_to_stop(n, growth, rule, churn)
    assert stopped == pytest.approx(expected, abs=3 * np.sqrt(0.25 / 2000))


def test_the_defaults_say_how_many_items_a_group_needs():
    assert enough_items(Fairness().large_harm, ALPHA) == 35
    assert [enough_items(large, ALPHA) for large in (0.2, 0.4)] == [74, 22]
