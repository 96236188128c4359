"""The rollout analysis errs no more often than stated, exactly and in simulations; no data, no promotion."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.rollouts import CASES, LOOK_EVERY, Truth, decided, default_rules, draw, simulate
from pipelines.core.config import Promote
from pipelines.policy.rollout.analysis import RolloutDecision, analyse
from pipelines.policy.rollout.evidence import abort_bar, block_size
from pipelines.policy.rollout.observations import Attempt, Copies, Observations
from pipelines.policy.rollout.pairs import Pair
from pipelines.policy.stats.sequential import in_blocks, log_evidence, log_evidence_of_losing

RULES = default_rules()
SHADOW, SMALL, LARGE = RULES.stages
FINE = Attempt(candidate=False, error=False, refused=False, latency_ms=1.0)


def arrays(blocks):
    return np.array([[c for c, _ in blocks]], float), np.array([[p for _, p in blocks]], float)


@pytest.mark.parametrize("margin", [-0.2, -0.1, 0.0, 0.05])
@pytest.mark.parametrize("expected", [None, 0.1])
def test_the_expectation_is_at_most_one_in_the_whole_null(margin, expected):
    """Exact: all ways that three blocks can turn out, under every pair of rates of the null on a grid."""
    size = 2
    ways = list(itertools.product(itertools.product((0, 1), range(size + 1)), repeat=3))
    final = np.array([np.exp(log_evidence(*arrays(way), size, margin, expected)[0, -1]) for way in ways])
    choose = {0: 1, 1: 2, 2: 1}
    for other in np.linspace(0.02, 0.98, 13):
        for rate in np.linspace(0.0, min(1.0, other + margin), 9) if other + margin >= 0 else ():
            chance = [
                np.prod(
                    [
                        (rate if c else 1 - rate) * choose[p] * other**p * (1 - other) ** (size - p)
                        for c, p in way
                    ]
                )
                for way in ways
            ]
            assert np.dot(chance, final) <= 1 + 1e-9


def test_evidence_grows_only_where_the_null_is_wrong():
    rng = np.random.default_rng(1)
    candidate, production = (
        (rng.random((200, 300)) < 0.6).astype(float),
        rng.binomial(3, 0.4, (200, 300)) * 1.0,
    )
    assert np.median(log_evidence(candidate, production, 3, 0.0)[:, -1]) > 10
    assert np.median(log_evidence(candidate, production, 3, 0.3)[:, -1]) < 0


def test_losing_most_pairs_is_evidence_and_winning_half_is_not():
    lost = np.ones(40)
    assert log_evidence_of_losing(1 - lost, lost)[-1] > np.log(1000)
    assert log_evidence_of_losing(lost, 1 - lost)[-1] < -5
    rng = np.random.default_rng(2)
    won = (rng.random((4000, 200)) < 0.5).astype(float)
    ever = log_evidence_of_losing(won, 1 - won).max(axis=1) >= np.log(20)
    assert ever.mean() <= 0.05


def test_blocks_are_made_by_arrival_alone():
    rng = np.random.default_rng(3)
    sides, outcomes = rng.random(500) < 0.25, rng.random(500) < 0.5
    candidate, production = in_blocks(zip(sides, outcomes, strict=True), 3)
    flipped = in_blocks(zip(sides, ~outcomes, strict=True), 3)
    assert np.array_equal(flipped[0], 1 - candidate)
    assert np.array_equal(flipped[1], 3 - production)
    some = in_blocks(list(zip(sides, outcomes, strict=True))[:300], 3)  # an earlier look saw the same blocks
    assert np.array_equal(candidate[: len(some[0])], some[0])
    assert in_blocks([], 3)[0].shape == (0,)


@pytest.mark.slow
def test_a_worse_candidate_is_promoted_no_more_than_stated():
    found = simulate(Truth((0.4, 0.3)), RULES, 10_000, 100, 300, seed=11)
    assert found.promoted.mean() <= RULES.alpha_promote
    assert found.worse.mean() > 0.3  # most of the others are recognised for what they are


@pytest.mark.slow
def test_an_equal_candidate_is_aborted_no_more_than_stated():
    found = simulate(Truth((0.4, 0.4)), RULES, 10_000, 100, 300, seed=12)
    assert found.worse.mean() <= RULES.alpha_abort
    assert found.promoted.mean() > 0.6


def test_power():
    better = simulate(CASES["better by 25 points"], RULES, 400, 200, 200, seed=13)
    assert better.promoted.mean() > 0.8
    broken = simulate(CASES["equal, but 30% of answers are slow"], RULES, 400, 200, 300, seed=14)
    assert broken.promoted.mean() < 0.02
    assert broken.worse.mean() > 0.8


# One guard at a time, and production without fault: else rows would drop out of one guard for another's sake.
QUIET = {"errors": (0, 0), "refusals": (0, 0), "latency": (0, 0)}
AGREEING = [
    Truth((0.4, 0.5), **QUIET),
    Truth((0.4, 0.15), **QUIET),
    *(Truth((0.4, 0.45), **{**QUIET, guard: (0, 0.06)}) for guard in QUIET),
]


@pytest.mark.parametrize("truth", AGREEING)
def test_the_simulation_and_the_analysis_agree_at_every_look(truth):
    draws = draw(truth, RULES, 6, 100, 150, np.random.default_rng(4))
    for row, promoted in enumerate(decided(draws, RULES).promoted):
        assert one_by_one(draws, row) == promoted


def one_by_one(draws, row):
    """The rollout `row`, analysed look by look as in production; whether it got there."""
    differences = (draws.won[row] - draws.lost[row]).astype(int)
    pairs = [Pair(one == 0, one, one) for one in differences]
    served = answers({name: (c[row], p[row]) for name, (c, p) in draws.shadow.items()}, 1, len(pairs))
    looks = range(LOOK_EVERY, len(pairs) + 1, LOOK_EVERY)
    seen = [Observations(9e3, attempts=served[: 2 * n], pairs=pairs[:n]) for n in looks]
    if not passes(SHADOW, seen)[0]:
        return False
    size, count = block_size(LARGE, RULES), draws.liked[0].shape[1]
    served = answers({name: (c[row], p[row]) for name, (c, p) in draws.canary.items()}, size, count)
    rated = spread(draws.liked[0][row], draws.liked[1][row], size)
    looks = range(LOOK_EVERY, count + 1, LOOK_EVERY)
    seen = [
        Observations(9e3, attempts=[FINE] * 50 + served[: (size + 1) * n], ratings=rated[: (size + 1) * n])
        for n in looks
    ]
    small, at = passes(SMALL, seen)
    return small and passes(LARGE, seen[at + 1 :])[0]


def passes(stage, seen):
    for at, look in enumerate(seen):
        decision = analyse(stage, RULES, look).decision
        if decision is not RolloutDecision.CONTINUE:
            return decision is RolloutDecision.PROMOTE, at
    return False, len(seen)


def spread(candidate, production, size):
    """Blocks as a stream of (is the candidate's, outcome)."""
    stream = []
    for one, many in zip(candidate, production, strict=True):
        stream += [(True, bool(one)), *((False, place < many) for place in range(size))]
    return stream


def answers(guards, size, count):
    streams = {name: spread(*blocks, size) for name, blocks in guards.items()}
    quiet = spread(np.zeros(count), np.zeros(count), size)
    columns = (streams.get(name, quiet) for name in ("errors", "refusals", "latency"))
    return [
        Attempt(error[0], error[1], refused[1], 10.0 if slow[1] else 1.0)
        for error, refused, slow in zip(*columns, strict=True)
    ]


def canary(count, liked, seconds=9e3):
    rng = np.random.default_rng(5)
    stream = spread((rng.random(count) < liked) * 1.0, rng.binomial(3, 0.4, count) * 1.0, 3)
    served = [FINE] * 50 + [Attempt(side, False, False, 1.0) for side, _ in stream]
    return Observations(seconds, attempts=served, ratings=stream)


def test_it_promotes_what_has_shown_itself():
    analysis = analyse(LARGE, RULES, canary(200, 0.55))
    assert analysis.decision is RolloutDecision.PROMOTE
    assert analysis.evidence["log_evidence_not_worse"] >= analysis.evidence["bar_promote"]
    assert analysis.evidence["rated"] == 200


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (canary(200, 0.55, seconds=10), "10 of 3600 seconds of bake time"),
        (canary(20, 0.9), "20 of 40 answers of the candidate"),
        (canary(60, 0.35), "not yet shown to be less than 10% below production"),
        (Observations(9e3), "errors: nothing to compare yet"),
        (Observations(9e3, ratings=canary(200, 0.55).ratings), "0 of 40 answers of the candidate"),
        (Observations(9e3, attempts=canary(200, 0.5).attempts), "0 of 30 rated answers"),
    ],
)
def test_it_waits_for_what_is_missing(seen, words):
    analysis = analyse(LARGE, RULES, seen)
    assert analysis.decision is RolloutDecision.CONTINUE
    assert words in "; ".join(analysis.reasons)


@pytest.mark.parametrize("seen", [Observations(3e6), canary(20, 0.9, seconds=3e6)])
def test_time_without_evidence_ends_the_rollout(seen):
    analysis = analyse(LARGE, RULES, seen)
    assert analysis.decision is RolloutDecision.ABORT
    assert "Not enough evidence" in analysis.reasons[0]


def test_it_aborts_what_users_like_less_and_says_so():
    analysis = analyse(LARGE, RULES, canary(200, 0.1, seconds=10))
    assert analysis.decision is RolloutDecision.ABORT
    assert analysis.reasons == ("Users like the candidate's answers less than production's.",)


def test_a_rise_that_proves_nothing_yet_holds_promotion_back():
    seen = canary(200, 0.55)
    some = [
        Attempt(s.candidate, s.candidate and place % 90 == 50, False, 1.0)
        for place, s in enumerate(seen.attempts)
    ]
    analysis = analyse(LARGE, RULES, Observations(9e3, attempts=some, ratings=seen.ratings))
    assert analysis.decision is RolloutDecision.CONTINUE
    assert analysis.reasons[0].startswith("errors: +")


def test_the_bar_is_shared_by_all_tests_of_a_rollout():
    assert abort_bar(Promote()) == pytest.approx(np.log(7 / 0.05))


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([{"name": "only"}], "a shadow"),
        ([{"name": "a", "weight": 0.1}, {"name": "b", "weight": 0.2}], "a shadow"),
        ([{"name": "a"}, {"name": "b", "weight": 0.2}, {"name": "c", "weight": 0.1}], "larger weight"),
        ([{"name": "a"}, {"name": "a", "weight": 0.1}], "same name"),
        ([{"name": "a", "min_rated": 1}, {"name": "b", "weight": 0.1}], "min_rated"),
    ],
)
def test_senseless_stages_are_refused(stages, words):
    with pytest.raises(ValueError, match=words):
        Promote.model_validate({"stages": stages})


@pytest.mark.parametrize(
    ("copies", "decision"),
    [
        (Copies(), RolloutDecision.PROMOTE),  # a journal of an older version counted none
        (Copies(offered=400, answered=190, failed=10, dropped=200), RolloutDecision.PROMOTE),
        (Copies(offered=401, answered=190, failed=10, dropped=201), RolloutDecision.CONTINUE),
        (Copies(offered=400, answered=10, dropped=0), RolloutDecision.PROMOTE),  # most are under way
    ],
)
def test_a_shadow_that_was_offered_little_waits(copies, decision):
    answers = [FINE, replace(FINE, candidate=True)] * 200
    observed = Observations(seconds=SHADOW.bake_s, attempts=answers, copies=copies)
    found = analyse(SHADOW, RULES, observed)
    assert found.decision is decision
    dropped = [words for words in found.reasons if "max_dropped_share" in words]
    assert bool(dropped) == (decision is RolloutDecision.CONTINUE)
    assert found.evidence.get("copies_offered", 0) == copies.offered
    late = analyse(SHADOW, RULES, replace(observed, seconds=SHADOW.max_s))
    assert (late.decision is RolloutDecision.ABORT) == bool(dropped)  # missing data never promotes
