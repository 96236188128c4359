"""No tenant decides a rollout against the others, whomever it invents and whenever it comes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rollouts import default_rules
from pipelines.policy.rollout.analysis import RolloutDecision, analyse
from pipelines.policy.rollout.observations import Attempt
from pipelines.policy.rollout.tenants import LEAST_ROWS, balanced, large_tenants
from pipelines.policy.rollout.traffic import Traffic
from tests.support.fuzz import examples

RULES = default_rules()
LARGE = RULES.stages[-1]
KNOWN = ("evil", "a", "b", "c")
TENANTS = st.lists(st.sampled_from("aaaaaabbc"), max_size=150)
SHARES = st.sampled_from([0.2, 0.34, 0.5, 0.8])


@settings(max_examples=examples(), deadline=None, derandomize=True)
@given(TENANTS, SHARES)
def test_no_tenant_holds_more_than_its_share(tenants, share):
    counted = balanced(tenants, share, ("a", "b"))
    counts, given_by = Counter(tenants[place] for place in counted), Counter(tenants)
    assert len(set(counted)) == len(counted)
    assert max(counts.values(), default=0) <= share * len(counted) + 1e-9
    fits = (each for each in range(len(tenants) + 1)
            if each <= share * sum(min(each, count) for count in given_by.values()))  # fmt: skip
    each = max(fits)  # no more could count
    assert counts == {tenant: min(each, count) for tenant, count in given_by.items() if each}


@settings(max_examples=examples(), deadline=None, derandomize=True)
@given(TENANTS, SHARES, st.sampled_from([(), ("a",), ("a", "b")]), st.integers(0, 150))
def test_a_later_look_only_adds(tenants, share, known, looked_at):
    early = balanced(tenants[:looked_at], share, known)
    assert balanced(tenants, share, known)[: len(early)] == early


def test_a_lone_tenant_is_not_capped():
    tenants = ["a"] * 100 + ["b"] * (LEAST_ROWS - 1)
    assert balanced(tenants, 0.5) == list(range(len(tenants)))
    assert balanced(["a"] * 100, 0.5, ("a", "b")) == []  # the other one is known, and gave nothing so far
    assert balanced(["a"] * 100, 1.0, ("a", "b")) == list(range(100))


def test_large_tenants_are_those_with_a_tenth():
    assert large_tenants(["a"] * 80 + ["b"] * 15 + ["c"] * 5) == ["a", "b"]
    assert large_tenants(["a"] * 80) == []


def ratings_of(rng, tenant, people, liked):
    """(tenant, (is the candidate's, liked)) of people; `liked`: shares of production and the candidate."""
    sides = rng.random(people) < LARGE.weight
    return [(tenant, (bool(side), bool(rng.random() < liked[int(side)]))) for side in sides]


def seen(rng, evil, others, flood_first):
    """2,000 people whom one tenant invents, beside 1,500 real ones of three tenants."""
    invented = ratings_of(rng, "evil", 2000, evil)
    real = [one for tenant in "abc" for one in ratings_of(rng, tenant, 500, others)]
    rng.shuffle(real)
    rows = [*invented, *real]
    if not flood_first:
        rows = [rows[place] for place in rng.permutation(len(rows))]
    rows = [(str(tenant), (bool(side), bool(like))) for tenant, (side, like) in rows]
    places = balanced([tenant for tenant, _ in rows], 0.5, KNOWN)
    counted = [((rows[place][0], str(place)), rows[place][1]) for place in places]
    attempts = [(person, Attempt(side, False, False, 1.0)) for person, (side, _) in counted]
    large = large_tenants([tenant for (tenant, _), _ in counted])
    return Traffic(9e3, attempts, counted, large_tenants=large).observations()


@pytest.mark.parametrize("flood_first", [True, False])
def test_one_tenant_promotes_nothing_that_others_dislike(flood_first):
    for seed in range(10):
        found = seen(np.random.default_rng(seed), (0.0, 1.0), (0.7, 0.3), flood_first)
        assert analyse(LARGE, RULES, found).decision is not RolloutDecision.PROMOTE


@pytest.mark.parametrize("flood_first", [True, False])
def test_one_tenant_aborts_nothing_that_others_like(flood_first):
    for seed in range(10):
        found = seen(np.random.default_rng(seed), (1.0, 0.0), (0.6, 0.7), flood_first)
        assert analyse(LARGE, RULES, found).decision is not RolloutDecision.ABORT


def test_where_tenants_agree_the_rollout_goes_on():
    rng = np.random.default_rng(1)
    better = analyse(LARGE, RULES, seen(rng, (0.6, 0.7), (0.6, 0.7), False))
    assert better.decision is RolloutDecision.PROMOTE
    worse = analyse(LARGE, RULES, seen(rng, (0.7, 0.3), (0.7, 0.3), False))
    assert worse.decision is RolloutDecision.ABORT
