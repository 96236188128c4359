"""Missing labels decide nothing: not a shadow's rollout, and not what a candidate has forgotten."""

import itertools

import numpy as np
import pytest

from benchmarks.forgetting import Nights, rejected
from benchmarks.missing_labels import (
    CANDIDATES,
    CORRECTED_BY,
    LOST,
    SHARES,
    WON,
    Pairs,
    World,
    draw,
    judged,
    shares,
)
from pipelines.core.config import Gate, Promote
from pipelines.policy.rollout.analysis import RolloutDecision, analyse
from pipelines.policy.rollout.observations import Attempt, Observations
from pipelines.policy.rollout.pairs import Pair, pair_of, pairs_found

RULES = Promote()
SHADOW = RULES.stages[0]
SERVED = [Attempt(side, False, False, 1.0) for side in (True, False)] * 400


@pytest.mark.parametrize(
    ("candidate", "production", "label", "expected"),
    [
        ("a", "a", None, (True, 0, 0)),
        ("a", "a", "b", (True, 0, 0)),
        ("a", "b", "b", (False, -1, -1)),
        ("a", "b", "a", (False, 1, 1)),
        ("a", "b", "c", (False, 0, 0)),
        ("a", "b", None, (False, 0, 1)),
    ],
)
def test_the_difference_of_a_pair(candidate, production, label, expected):
    assert pair_of(candidate, production, label) == expected


SEEN = [Pair(True, 0, 0), Pair(False, 1, 1), Pair(False, -1, -1), Pair(False, -1, -1), Pair(False, 0, 1)]


def test_bounds_without_selection_and_without_any_rating():
    found = pairs_found(SEEN, [], 2.0)
    assert (found.same, found.known, found.disliked, found.unrated) == (1, 3, 1, 0)
    assert (found.least, found.most) == (-0.2, 0.0)
    alike = pairs_found(SEEN, [True, False, False], 1.0)  # two more, as those rated that differ
    assert (alike.count, alike.same, alike.unrated) == (8, 2, 2)
    assert (alike.least, alike.most) == pytest.approx(((-1 - 2 / 4) / 8, 0.0))
    assert (pairs_found([], [False, True], 2.0).least, pairs_found([], [False, True], 2.0).most) == (
        -0.5,
        0.5,
    )
    assert (pairs_found([], [], 2.0).least, pairs_found([], [], 2.0).most) == (-1, 1)
    assert pairs_found([], [True] * 3, 2.0).most == 0


@pytest.mark.parametrize("odds", [1.0, 1.5, 2.0, 5.0])
def test_bounds_hold_for_every_selection_within_the_odds(odds):
    """All chances of a rating on a grid whose odds differ by the factor: the true mean lies within."""
    kinds = {1: 300, 0: 200, -1: 100}
    chances = [1 / (1 + 1 / (0.5 * factor)) for factor in (1.0, odds**0.5, odds)]
    widest = []
    for chance in itertools.product(chances, repeat=3):
        rated = {kind: count * share for (kind, count), share in zip(kinds.items(), chance, strict=True)}
        seen = [Pair(False, kind, kind) for kind, count in rated.items() for _ in range(round(count))]
        found = pairs_found(seen, [False] * (600 - len(seen)), odds)
        assert found.least - 0.005 <= 200 / 600 <= found.most + 0.005
        widest.append(found.most - 200 / 600)
    assert min(widest) <= 0.01  # some selection reaches the bound


@pytest.mark.parametrize("words", ["better by 10 points, but another", "equal"])
@pytest.mark.parametrize("by", CORRECTED_BY)
def test_no_share_of_corrections_aborts_a_candidate(words, by):
    for number, share in enumerate(SHARES):
        drawn = draw(World(*CANDIDATES[words], share, by), 200, np.random.default_rng(number))
        worse, on, doubt = report(drawn)
        assert worse <= RULES.alpha_abort
        assert on + doubt > 0.95


def test_complete_labels_show_a_worse_candidate():
    worse, on, doubt = report(draw(World(*CANDIDATES["worse by 20 points"]), 400, np.random.default_rng(1)))
    assert worse > 0.7
    assert on + doubt < 0.08


def test_ratings_that_depend_on_the_better_answer_abort_nothing():
    lost_twice = World(*CANDIDATES["equal"], rated=(0.6, 0.3))
    assert report(draw(lost_twice, 400, np.random.default_rng(2)))[0] <= 0.05
    four_times = World(*CANDIDATES["equal"], rated=(0.6, 0.15))  # beyond what the setting covers
    worse = report(draw(four_times, 400, np.random.default_rng(3)))[0]
    wider = RULES.model_copy(update={"rating_odds": 4.0})
    assert shares(judged(draw(four_times, 400, np.random.default_rng(3)), wider))[0] < max(worse, 0.01)


def report(pairs):
    return shares(judged(pairs, RULES))


@pytest.mark.parametrize("share", [1.0, 0.3, 0.02])
@pytest.mark.parametrize("words", ["equal", "worse by 20 points"])
def test_the_simulation_and_the_analysis_agree(words, share):
    world = World(*CANDIDATES[words], share, "topic", (0.7, 0.4))
    drawn = draw(world, 4, np.random.default_rng(5))
    ended = judged(drawn, RULES)
    for row in range(4):
        assert (ended.worse[row], ended.on[row] | ended.doubt[row]) == looked_at(drawn, row)


def looked_at(drawn: Pairs, row: int) -> tuple[bool, bool]:
    for look in range(10, 401, 10):
        rated, unrated = [], []
        for kind, corrected, told in zip(
            drawn.kind[row, :look], drawn.corrected[row, :look], drawn.rated[row, :look], strict=True
        ):
            same = kind not in (WON, LOST, 2)
            label = "p" if kind == LOST else {WON: "c"}.get(kind, "x") if corrected else None
            if told:
                rated.append(pair_of("p" if same else "c", "p", label))
            else:
                unrated.append(same)
        seen = Observations(9e3, SERVED[: 2 * look], pairs=rated, unrated=unrated)
        decision = analyse(SHADOW, RULES, seen).decision
        if decision is not RolloutDecision.CONTINUE:
            return decision is RolloutDecision.ABORT, decision is RolloutDecision.PROMOTE
    return False, False


def shadow_of(lost, disliked, unrated):
    pairs = [Pair(False, 0, 1)] * disliked + [Pair(False, -1, -1)] * lost + [Pair(True, 0, 0)] * 100
    return analyse(SHADOW, RULES, Observations(9e3, SERVED, pairs=pairs, unrated=[False] * unrated))


def test_the_shadow_says_what_it_cannot_conclude():
    found = shadow_of(30, 40, 0)
    assert found.decision is RolloutDecision.PROMOTE
    assert "over 170 answers the candidate is right -17.6% to +5.9% against production" in found.reasons[1]
    assert "(100 the same, 30 known, 40 disliked without correction, 0 not rated)" in found.reasons[1]
    assert "cannot be concluded" in found.reasons[1]
    assert (found.evidence["pairs_known"], found.evidence["pairs_disliked"]) == (30, 40)
    assert "cannot be concluded" not in shadow_of(5, 5, 0).reasons[1]


def test_a_shadow_that_is_worse_at_best_waits():
    found = shadow_of(15, 0, 0)
    assert found.decision is RolloutDecision.CONTINUE
    assert found.reasons == ("-13.0% against production at best, where more than -10% is asked",)
    assert shadow_of(40, 0, 0).decision is RolloutDecision.ABORT


GATE = Gate()


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("gains", "losses"), [(0.15, 0.05), (0.1, 0.1)])
def test_missing_corrections_reject_no_candidate(gains, losses, share):
    found = rejected(Nights(gains, losses, share), 300, 60, GATE, np.random.default_rng(1))
    assert found["fail"] <= GATE.alpha + 0.02
    assert found["holds"] < 0.1 or share == 1


def test_a_candidate_that_forgets_is_rejected_with_labels():
    found = rejected(Nights(0.03, 0.18, 1.0), 300, 60, GATE, np.random.default_rng(2))
    assert found["fail"] > 0.8
