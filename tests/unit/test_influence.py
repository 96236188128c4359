"""One tenant or three people do not decide what earlier nights' rows say of a candidate."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planted_feedback import ATTACKS, CLEAN, People, shares
from pipelines.core.config import Gate
from pipelines.core.contract import Verdict
from pipelines.core.facts.evaluate import EvaluateFacts, EvaluateReadings, Forgetting, LeftOut
from pipelines.core.facts.fairness import FairnessFacts
from pipelines.core.facts.reading import as_json, parsed
from pipelines.core.facts.safety import SafetyFacts
from pipelines.policy.night.gate import verdict_of
from pipelines.policy.night.influence import Told, influence_check, left_out
from pipelines.policy.night.measured import Measured, measured_from
from pipelines.policy.stats.influence import (
    Side,
    chance_of_group,
    chance_of_people,
    few_people,
    intraclass_correlation,
    one_group,
)
from tests.support.fuzz import examples

GATE = Gate()
WORTH = np.array([1.0, 0.0, -1.0])
KINDS = ("only_candidate", "both", "only_production")
SHARES = (0.1, 0.8, 0.1)


def rows_of(rng, people, each, shares=SHARES, tenant="a", first=0):
    """Rows of people who are all alike."""
    return [
        Told(str(rng.choice(KINDS, p=shares)), tenant, (tenant, f"p{first + person}"))
        for person in range(people)
        for _ in range(each)
    ]


def measured_of(rows, seed=0):
    counts = {kind: sum(row.outcome == kind for row in rows) for kind in KINDS}
    interval = {"value": 0.0, "low": 0.0, "high": 0.0}
    forgetting = {
        "n": len(rows), "production": 0.0, "candidate": 0.0, "difference": interval,
        "paired": {"n": len(rows), **counts},
    }  # fmt: skip
    facts = EvaluateFacts(
        forgetting=parsed(forgetting, Forgetting), left_out=left_out(rows, np.random.default_rng(seed))
    )
    return Measured(facts, EvaluateReadings(), FairnessFacts(), SafetyFacts(), {})


def checked(rows, seed=0):
    (row,) = influence_check("adapter", measured_of(rows, seed), GATE)
    return row


def people_chance(side, rng):
    return chance_of_people([side], few_people([side], 3), rng)


def tenants_chance(side, rng):
    tenants = np.arange(40) % 4
    return chance_of_group([side], tenants, one_group([side], tenants), rng)


def test_three_people_who_carry_a_bad_candidate_hold_it():
    """40 people lose 8 points. Three others, with 30 rows each, only gain."""
    rng = np.random.default_rng(1)
    honest = rows_of(rng, 40, 8, (0.02, 0.88, 0.1))
    row = checked([*honest, *rows_of(rng, 3, 30, (1, 0, 0), first=100)])
    assert row.answer == "cannot conclude"
    assert row.detail.startswith("three people decide more than so few do in clean worlds. forgetting: pass;")
    assert "p100" not in row.detail
    assert verdict_of([row]) is Verdict.HOLD
    assert checked(honest).answer == "pass", "nothing to hold: forgetting itself does not pass"


def test_one_tenant_that_carries_a_bad_candidate_holds_it():
    rng = np.random.default_rng(2)
    others = rows_of(rng, 30, 5, (0.0, 0.88, 0.12))
    row = checked([*others, *rows_of(rng, 30, 5, (0.6, 0.4, 0.0), "pushes")])
    assert row.answer == "cannot conclude"
    assert row.detail.startswith("the tenant pushes decide")


def test_who_speaks_against_a_candidate_is_shown_and_holds_nothing():
    rng = np.random.default_rng(3)
    row = checked([*rows_of(rng, 40, 8, (0.1, 0.85, 0.05)), *rows_of(rng, 3, 30, (0, 0, 1), first=100)])
    assert row.answer == "pass"
    assert row.detail.startswith("forgetting: fail; pass without three people (90 rows")


def test_nobody_is_left_out_of_few_people_of_one_tenant():
    row = checked(rows_of(np.random.default_rng(4), 9, 30))
    assert (row.answer, row.detail) == ("pass", "too few people to leave any out")


def test_older_facts_have_no_such_row():
    facts = as_json(measured_of(rows_of(np.random.default_rng(5), 20, 5)).evaluate)
    del facts["left_out"]
    found = measured_from(facts, {}, {}, {})
    assert influence_check("adapter", found, GATE) == []


def test_facts_that_cannot_be_read_hold():
    facts = as_json(measured_of(rows_of(np.random.default_rng(5), 20, 5)).evaluate) | {"left_out": [{}]}
    (row,) = influence_check("adapter", measured_from(facts, {}, {}, {}), GATE)
    assert (row.answer, row.blocks) == ("cannot conclude", True)
    assert "facts of evaluate cannot be read" in row.detail


def test_facts_name_no_person():
    stored = str(as_json(measured_of(rows_of(np.random.default_rng(6), 20, 5)).evaluate))
    assert "p1" not in stored.replace("p_value", "")
    parsed(as_json(measured_of(rows_of(np.random.default_rng(6), 20, 5)).evaluate), EvaluateFacts)
    assert LeftOut.model_fields.keys() >= {"tenant", "rows", "p_value"}


@settings(max_examples=examples(), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(0, 6)), min_size=5, max_size=9))
def test_the_three_found_are_the_most_influential(people):
    counts = np.array(people)
    found = few_people([Side(counts, WORTH)], 3)

    def mean(left):
        return (counts[left] @ WORTH).sum() / counts[left].sum()

    everybody = list(range(len(counts)))
    best = max(
        mean(everybody) - mean([one for one in everybody if one not in gone])
        for size in range(4)
        for gone in combinations(everybody, size)
    )
    assert found.moved == pytest.approx(best, abs=1e-9)


def test_rows_of_a_person_that_are_all_alike_correlate():
    alike = np.array([[9, 0, 0], [0, 0, 9]] * 10)
    assert intraclass_correlation(alike, WORTH) == 1
    assert (
        intraclass_correlation(np.array([[1, 0, 0], [0, 0, 1]] * 10), WORTH) == 0
    )  # a row each tells nothing
    assert intraclass_correlation(np.full((10, 3), 5), WORTH) == 0


def test_one_row_a_person_gives_nobody_influence():
    counts = np.eye(3, dtype=int)[np.random.default_rng(7).integers(0, 3, 200)]
    assert people_chance(Side(counts, WORTH), np.random.default_rng(0)) > 0.2


@pytest.mark.slow
def test_clean_worlds_seldom_stand_out():
    """120 worlds of 40 people who are alike, or who differ: a few have a p-value of 0.01."""
    rng, alarms = np.random.default_rng(8), {"alike": 0, "differ": 0, "tenants": 0}
    for _ in range(120):
        sizes = rng.integers(1, 14, 40)
        alike = rng.multinomial(sizes, SHARES)
        differ = rng.multinomial(sizes, rng.dirichlet(np.array(SHARES) * 4, 40))
        alarms["alike"] += people_chance(Side(alike, WORTH), rng) <= 0.01
        alarms["differ"] += people_chance(Side(differ, WORTH), rng) <= 0.01
        alarms["tenants"] += tenants_chance(Side(differ, WORTH), rng) <= 0.01
    assert max(alarms.values()) <= 6, alarms


@pytest.mark.slow
def test_three_loud_people_stand_out():
    rng, found = np.random.default_rng(9), 0
    for _ in range(40):
        counts = rng.multinomial(rng.integers(1, 14, 40), SHARES)
        counts[:3] = [[25, 0, 0]] * 3
        found += people_chance(Side(counts, WORTH), rng) <= 0.01
    assert found >= 36


@pytest.mark.slow
def test_planted_rows_seldom_carry_a_bad_candidate():
    """It loses 8 points with everybody else. The gate's own check of forgetting lets it pass."""
    passed, held, goes_on = shares(People(0.02, 0.1), ATTACKS["three accounts, 30 rows each"], 25, [1])
    assert passed == 1
    assert held >= 0.8
    assert goes_on <= 0.2


@pytest.mark.slow
def test_a_good_candidate_is_seldom_held():
    _, held, goes_on = shares(CLEAN["equal, few differences, people differ (0.1)"], None, 40, [2])
    assert held <= 0.1
    assert goes_on >= 0.5
