"""No three people, and no tenant, decide a stage of a rollout where they stand out."""

import numpy as np
import pytest

from benchmarks.rollout_influence import ALL, CLEAN, DISLIKES, GOOD, LIKES, WORSE, World, shares
from benchmarks.rollouts import default_rules
from pipelines.core.facts.reading import parsed
from pipelines.core.facts.rollout import RolloutLeftOut
from pipelines.policy.rollout.analysis import RolloutDecision, analyse
from pipelines.policy.rollout.influence import analyse_people
from pipelines.policy.rollout.observations import Attempt
from pipelines.policy.rollout.pairs import Pair
from pipelines.policy.rollout.traffic import Traffic

RULES = default_rules()
SHADOW, SMALL, LARGE = RULES.stages


def rated(rng, people, liked, tenant="a", each=1, side=None, first=0):
    """Ratings of people; `liked`: shares of production and the candidate."""
    found = []
    for person in range(first, first + people):
        of_candidate = bool(rng.random() < LARGE.weight) if side is None else side
        found += [
            ((tenant, f"p{person}"), (of_candidate, bool(rng.random() < liked[of_candidate])))
            for _ in range(each)
        ]
    return found


def traffic(ratings, refused=(), seconds=9e3):
    rows = list(ratings)
    np.random.default_rng(0).shuffle(rows)
    ratings = [(tuple(map(str, who)), (bool(side), bool(like))) for who, (side, like) in rows]
    fine = [(("a", f"early{n}"), Attempt(False, False, False, 1.0)) for n in range(50)]
    answers = [(who, Attempt(side, False, False, 1.0)) for who, (side, _) in ratings]
    places = np.random.default_rng(1).permutation(len(answers) + len(refused))
    mixed = [[*answers, *refused][place] for place in places]
    return Traffic(seconds, [*fine, *mixed], ratings)


def test_three_people_who_carry_a_worse_candidate_wait():
    rng = np.random.default_rng(1)
    honest = rated(rng, 600, (0.7, 0.5), each=2)
    seen = traffic([*honest, *rated(rng, 3, (1, 1), each=150, side=True, first=900)])
    assert analyse(LARGE, RULES, seen.observations()).decision is RolloutDecision.PROMOTE
    found = analyse_people(LARGE, RULES, seen)
    assert found.decision is RolloutDecision.CONTINUE
    assert found.reasons[0] == "not yet promote: three people decide more than so few do in clean worlds"
    assert "p900" not in str(found)
    late = analyse_people(LARGE, RULES, traffic(seen.ratings, seconds=LARGE.max_s))
    assert (late.decision, late.reasons[1]) == (RolloutDecision.ABORT, found.reasons[0])


def test_three_people_who_carry_a_good_one_down_wait():
    rng = np.random.default_rng(2)
    honest = rated(rng, 600, (0.6, 0.65), each=2)
    seen = traffic([*honest, *rated(rng, 3, (0, 0), each=150, side=True, first=900)])
    assert analyse(LARGE, RULES, seen.observations()).decision is RolloutDecision.ABORT
    assert analyse_people(LARGE, RULES, seen).decision is RolloutDecision.CONTINUE


def test_one_account_whose_requests_are_refused_aborts_nothing():
    rng = np.random.default_rng(3)
    refused = [(("a", "script"), Attempt(True, False, True, 1.0))] * 200
    seen = traffic(rated(rng, 600, (0.6, 0.6), each=2), refused)
    assert analyse(LARGE, RULES, seen.observations()).decision is RolloutDecision.ABORT
    found = analyse_people(LARGE, RULES, seen)
    assert found.decision is RolloutDecision.CONTINUE
    assert "(refusals: " in " ".join(found.reasons)


def test_where_people_agree_the_answer_stands_and_is_told():
    found = analyse_people(LARGE, RULES, traffic(rated(np.random.default_rng(4), 900, (0.6, 0.75))))
    assert found.decision is RolloutDecision.PROMOTE
    assert found.reasons[1:] == ("without the three people who speak most for it still promote",)
    parts = [parsed(part, RolloutLeftOut) for part in found.evidence["left_out"]]
    assert [part.measure for part in parts] == ["liked", "errors", "refusals", "latency"]
    assert {(part.answer, part.p_value) for part in parts} == {("promote", None)}


def test_one_tenant_that_carries_a_candidate_is_named():
    rng = np.random.default_rng(5)
    others = rated(rng, 400, (0.7, 0.55), "calm")
    seen = traffic([*others, *rated(rng, 400, (0.3, 0.95), "pushes", first=500)])
    found = analyse_people(LARGE, RULES, seen)
    assert found.decision is RolloutDecision.CONTINUE
    assert found.reasons[0].startswith("not yet promote: the tenant pushes")


def test_nobody_is_left_out_of_fewer_than_ten_people():
    rng = np.random.default_rng(6)
    few = [
        *rated(rng, 9, (0, 1), each=20, side=True),
        *rated(rng, 40, (0.4, 0), each=6, side=False, first=20),
    ]
    found = analyse_people(LARGE.model_copy(update={"guards": ()}), RULES, traffic(few))
    assert found.decision is RolloutDecision.PROMOTE
    assert found.reasons[-1] == "too few people to leave any out"


def test_three_people_do_not_end_a_shadow():
    rng = np.random.default_rng(7)
    pairs = [
        (("a", f"p{n}"), Pair(False, worth, worth)) for n in range(60) for worth in rng.permutation([1, -1])
    ]
    pairs += [(("a", f"q{n % 3}"), Pair(False, -1, -1)) for n in range(150)]
    served = [
        (("a", f"p{n % 60}"), Attempt(side, False, False, None)) for n in range(200) for side in (False, True)
    ]
    seen = Traffic(9e3, served, pairs=pairs)
    assert analyse(SHADOW, RULES, seen.observations()).decision is RolloutDecision.ABORT
    found = analyse_people(SHADOW, RULES, seen)
    assert found.decision is RolloutDecision.CONTINUE
    assert "(pairs: 150 answers;" in found.reasons[2]


def test_with_0_it_only_tells():
    rng = np.random.default_rng(1)
    seen = traffic(
        [*rated(rng, 600, (0.7, 0.5), each=2), *rated(rng, 3, (1, 1), each=150, side=True, first=900)]
    )
    found = analyse_people(LARGE, RULES.model_copy(update={"alpha_influence": 0.0}), seen)
    assert found.decision is RolloutDecision.PROMOTE
    assert "without three people it would be " in found.reasons[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["equal, some ask far more", "equal, four tenants"])
def test_a_clean_rollout_seldom_waits(name):
    before, _, promoted, _, waited = shares(CLEAN[name], None, 15, [1])
    assert waited <= 0.1
    assert promoted >= before - 0.1


@pytest.mark.slow
def test_planted_accounts_seldom_decide():
    before, _, promoted, _, _ = shares(World(WORSE, **ALL), LIKES, 4, [2])
    assert before >= 0.75
    assert promoted <= 0.25
    _, before, _, worse, _ = shares(World(GOOD, **ALL), DISLIKES, 4, [3])
    assert before >= 0.75
    assert worse <= 0.25
