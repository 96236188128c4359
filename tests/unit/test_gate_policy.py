"""The gate's table: closed on anything missing, honest over many nights with one holdout."""

import math
from datetime import date, timedelta
from functools import cache

import numpy as np
import pytest

from pipelines.core.config import Gate
from pipelines.core.contract import Verdict
from pipelines.policy.night.gate import check_candidate
from pipelines.policy.night.level import Asks, level_tonight
from pipelines.policy.night.measured import measured_from
from pipelines.policy.stats.paired import mean_p_value
from tests.support.facts import group

SETTINGS = Gate()
FAMILYWISE = Gate(error_rate="familywise", min_improvement=0.0)
ITEMS = 240
NIGHT = date(2027, 6, 1)


def counts(n, only_production, only_candidate):
    return {
        "n": n,
        "both": 0,
        "only_production": only_production,
        "only_candidate": only_candidate,
        "neither": n - only_production - only_candidate,
    }


def compared(n, low=-0.03, high=0.03):
    difference = {"value": 0.0, "low": low, "high": high}
    return {"n": n, "production": 0.5, "candidate": 0.5, "difference": difference}


def forgetting(n, only_production, only_candidate):
    return {**compared(n), "paired": counts(n, only_production, only_candidate)}


def ratio(value):
    return {"production": 20.0, "candidate": 20.0 * value, "ratio": value}


def good_facts():
    better = {"value": 0.2, "low": 0.1, "high": 0.3}
    return {
        "evaluate": {
            "baseline": "adapter",
            "paired": counts(ITEMS, 12, 60),
            "difference": better,
            "forgetting": forgetting(300, 15, 15),
            "general": compared(300),
            "perplexity": ratio(1.05),
            "latency_ms": ratio(1.02),
        },
        "fairness": {
            "stereotype": [group("not worse")],
            "slices": [group("not worse", slice="channel", value="web")],
            "answer": "not worse",
        },
        "safety": {"answer": "safe"},
    }


def asked(asks):
    """Tonight's question, after one on each of so many nights before."""
    nights = tuple(NIGHT - timedelta(days) for days in range(asks, 0, -1))
    return Asks(NIGHT, nights, of_suite=asks)


def verdict(facts, baseline="adapter", settings=SETTINGS, asks=0):
    evaluate = facts["evaluate"]
    found = measured_from(evaluate, evaluate, facts["fairness"], facts["safety"])
    return check_candidate(baseline, found, settings, asked(asks))


def answer_of(rows, check):
    return next(row.answer for row in rows if row.check == check)


def test_a_clearly_better_candidate_proceeds():
    rows, answer = verdict(good_facts())
    assert answer is Verdict.PROCEED, rows
    assert {row.answer for row in rows} == {"pass"}


MISSING = [
    ("evaluate", "paired"), ("evaluate", "forgetting"), ("evaluate", "general"), ("evaluate", "perplexity"),
    ("evaluate", "latency_ms"), ("evaluate", "baseline"), ("fairness", "answer"), ("fairness", "stereotype"),
    ("safety", "answer"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "key"), MISSING)
@pytest.mark.parametrize("nothing", [None, "absent", {}, math.nan])
def test_a_missing_fact_never_passes(step, key, nothing):
    facts = good_facts()
    if (step, key) == ("fairness", "stereotype"):
        facts["fairness"] = {"answer": "not worse"}
    elif nothing == "absent":
        del facts[step][key]
    elif key == "answer" and nothing == {}:
        facts[step][key] = ""
    else:
        facts[step][key] = nothing
    settings = SETTINGS.model_copy(update={"hold_on_unclear_fairness": True})
    assert verdict(facts, settings=settings)[1] in (Verdict.HOLD, Verdict.REJECT)


@pytest.mark.parametrize("step", ["evaluate", "fairness", "safety"])
def test_a_step_without_any_facts_never_passes(step):
    settings = SETTINGS.model_copy(update={"hold_on_unclear_fairness": True})
    assert verdict({**good_facts(), step: {}}, settings=settings)[1] is not Verdict.PROCEED


def numbers(part, path=()):
    for key, value in part.items():
        if isinstance(value, dict):
            yield from numbers(value, (*path, key))
        elif (
            isinstance(value, float) and key in {"value", "low", "high", "ratio"} and path[0] != "difference"
        ):
            yield (*path, key)


@pytest.mark.parametrize("path", list(numbers(good_facts()["evaluate"])), ids=".".join)
@pytest.mark.parametrize("broken", [math.nan, math.inf, None, "0.1"])
def test_what_is_no_number_never_passes(path, broken):
    facts = good_facts()
    part = facts["evaluate"]
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = broken
    assert verdict(facts)[1] is Verdict.HOLD


BROKEN = [
    ("evaluate", "paired", {**counts(10, 8, 8), "neither": 0}, "more differing answers than the 10 items"),
    ("evaluate", "paired", counts(10, -1, 8), "greater than or equal to 0"),
    ("evaluate", "paired", {**counts(10, 1, 8), "n": True}, "n: "),
    ("evaluate", "forgetting", {}, "forgetting.n: Field required"),
    ("fairness", "stereotype", [group("fine")], "stereotype.0.answer"),
    ("fairness", "slices", [{"answer": "not worse"}], "slices.0"),
]


@pytest.mark.parametrize(("step", "part", "value", "why"), BROKEN)
@pytest.mark.parametrize("baseline", ["adapter", "base"])
def test_facts_that_cannot_be_read_hold_and_say_why(step, part, value, why, baseline):
    facts = good_facts()
    facts["evaluate"]["baseline"] = baseline
    facts[step][part] = value
    rows, answer = verdict(facts, baseline=baseline)
    assert answer is Verdict.HOLD
    (unclear,) = [row for row in rows if row.answer == "cannot conclude"]
    assert f"the facts of {step} cannot be read" in unclear.detail
    assert why in unclear.detail


@pytest.mark.parametrize("part", ["paired", "forgetting", "general"])
def test_no_items_never_pass(part):
    facts = good_facts()
    facts["evaluate"][part] |= {"n": 0}
    if part == "forgetting":
        facts["evaluate"][part]["paired"] = counts(0, 0, 0)
    assert verdict(facts)[1] is Verdict.HOLD


def test_the_bare_base_is_named_as_baseline():
    facts = good_facts()
    facts["evaluate"] |= {"baseline": "base", "forgetting": None}
    rows, answer = verdict(facts, baseline="base")
    assert answer is Verdict.PROCEED
    assert "no adapter is in production" in rows[0].detail
    assert verdict(facts, baseline="adapter")[1] is Verdict.REJECT  # pinned one thing, measured another
    facts["evaluate"]["baseline"] = "adapter"
    assert verdict(facts, baseline="adapter")[1] is Verdict.HOLD  # an adapter may forget: nobody looked


LOST, FEW = forgetting(300, 70, 10), forgetting(20, 0, 0)
UNSURE = compared(20, low=-0.2, high=0.2)
BAD = [
    ("evaluate", "forgetting", LOST, Verdict.REJECT),
    ("evaluate", "forgetting", FEW, Verdict.HOLD),
    ("evaluate", "general", UNSURE, Verdict.HOLD),
    ("evaluate", "perplexity", ratio(1.6), Verdict.REJECT),
    ("evaluate", "latency_ms", ratio(2.1), Verdict.REJECT),
    ("fairness", "stereotype", [group("worse")], Verdict.REJECT),
    ("safety", "answer", "unsafe", Verdict.REJECT),
    ("safety", "answer", "cannot conclude", Verdict.REJECT),
]  # fmt: skip


@pytest.mark.parametrize(("forgetting", "expected"), [(FEW, Verdict.PROCEED), (LOST, Verdict.REJECT)])
def test_doubt_about_forgetting_never_blocks_on_the_base(forgetting, expected):
    facts = good_facts()
    facts["evaluate"] |= {"baseline": "base", "forgetting": forgetting}
    assert verdict(facts, baseline="base")[1] is expected


@pytest.mark.parametrize(("step", "key", "value", "expected"), BAD)
def test_each_harm_alone_stops_the_candidate(step, key, value, expected):
    facts = good_facts()
    facts[step][key] = value
    assert verdict(facts)[1] is expected


def fairness(*groups, large_harm=0.3):
    plan = {"smallest_group": 29, "large_harm": large_harm, "groups": []}
    slices = [{**one, "slice": "tenant", "value": str(i)} for i, one in enumerate(groups)]
    return {"plan": plan, "stereotype": [], "slices": slices, "answer": "cannot conclude"}


def judged(answer, difference=0.0, high=0.0):
    return {**group(answer, slice="", value=""), "difference": difference, "high": high}


CLEAR, UNCLEAR = judged("not worse", high=0.05), judged("cannot conclude", 0.02, 0.29)
OPEN, ALARMING = judged("cannot conclude", 0.1, 0.31), judged("cannot conclude", 0.3, 0.5)


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        (fairness(*[UNCLEAR] * 20), Verdict.PROCEED, "in 0 a growth of harm by 30 points is not excluded"),
        (fairness(*[CLEAR] * 18, *[OPEN] * 2), Verdict.PROCEED, "in 2 a growth"),
        (fairness(*[CLEAR] * 17, *[OPEN] * 3), Verdict.HOLD, "where 2 may be so"),
        (fairness(*[OPEN] * 20), Verdict.HOLD, "in 20 a growth"),
        (fairness(*[OPEN] * 20, large_harm=0.4), Verdict.PROCEED, "in 0 a growth of harm by 40 points"),
        (fairness(*[CLEAR] * 19, ALARMING), Verdict.HOLD, "tenant: 19 grew by 30, perhaps by chance"),
        ({**fairness(*[OPEN] * 20), "plan": None}, Verdict.HOLD, "by 30 points"),
    ],
)
def test_groups_without_power_are_bounded(found, expected, words):
    rows, answer = verdict({**good_facts(), "fairness": found})
    (row,) = [row for row in rows if row.check == "fairness"]
    assert answer is expected, row
    assert words in row.detail


def test_unclear_groups_hold_where_the_profile_asks():
    facts = {**good_facts(), "fairness": fairness(*[CLEAR] * 19, UNCLEAR)}
    strict = SETTINGS.model_copy(update={"hold_on_unclear_fairness": True})
    assert (verdict(facts)[1], verdict(facts, settings=strict)[1]) == (Verdict.PROCEED, Verdict.HOLD)
    assert verdict({**facts, "fairness": fairness(CLEAR)}, settings=strict)[1] is Verdict.PROCEED


def test_missing_corrections_hold_only_when_asked_to():
    facts = good_facts()
    facts["evaluate"]["forgetting"] = {**forgetting(300, 15, 2), "disliked": {"not_lost": 50, "open": 10}}
    rows, answer = verdict(facts)
    assert (answer, answer_of(rows, "forgetting")) == (Verdict.PROCEED, "cannot conclude")
    (row,) = [row for row in rows if row.check == "forgetting"]
    assert row.detail == (
        "the difference is -0.064 to +0.131 of 360 rated answers; 60 were disliked without correction"
    )
    strict = SETTINGS.model_copy(update={"hold_on_missing_labels": True})
    assert verdict(facts, settings=strict)[1] is Verdict.HOLD


def test_a_loss_that_dislikes_cannot_make_up_for_is_rejected():
    facts = good_facts()
    facts["evaluate"]["forgetting"] = {**forgetting(300, 70, 5), "disliked": {"not_lost": 5, "not_won": 20}}
    assert verdict(facts)[1] is Verdict.REJECT


def test_few_rated_answers_hold_whatever_was_disliked():
    facts = good_facts()
    facts["evaluate"]["forgetting"] = {**forgetting(10, 0, 0), "disliked": {"not_lost": 2, "same": 8}}
    assert verdict(facts)[1] is Verdict.HOLD


@pytest.mark.parametrize(("odds", "expected"), [(1.0, Verdict.REJECT), (2.0, Verdict.HOLD)])
def test_a_loss_that_rating_may_explain_is_no_rejection(odds, expected):
    facts = good_facts()
    facts["evaluate"]["forgetting"] = forgetting(300, 50, 28)
    assert verdict(facts, settings=SETTINGS.model_copy(update={"rating_odds": odds}))[1] is expected


@cache
def least_level(gains, losses, margin):
    return mean_p_value((1, -1, 0), margin, counts=(gains, losses, ITEMS - gains - losses))


def promoted(before, after, asks, settings):
    losses, gains = int((before & ~after).sum()), int((after & ~before).sum())
    p_value = least_level(gains, losses, settings.min_improvement)
    return p_value <= level_tonight(settings, asked(asks))


@pytest.mark.parametrize(("gains", "passes"), [(36, True), (29, True), (28, False), (12, False)])
def test_the_gate_passes_what_its_level_passes(gains, passes):
    facts = good_facts()
    facts["evaluate"]["paired"] = counts(ITEMS, 6, gains)
    rows, answer = verdict(facts, asks=30)
    improvement = next(row for row in rows if row.check == "improvement")
    assert (answer is Verdict.PROCEED) == passes == (improvement.p_value <= 0.5 / 400)
    assert improvement.p_value == pytest.approx(least_level(gains, 6, SETTINGS.min_improvement))


@pytest.mark.parametrize("stickiness", [0.0, 0.7])
def test_thirty_equal_candidates_are_rarely_promoted(stickiness):
    """`stickiness` is the share of items on which every candidate answers as production does."""
    rng = np.random.default_rng(1)
    false = 0
    for _ in range(200):
        production = rng.random(ITEMS) < 0.4
        sticky = rng.random(ITEMS) < stickiness
        for night in range(30):
            candidate = np.where(sticky, production, rng.random(ITEMS) < 0.4)
            if promoted(production, candidate, night, FAMILYWISE):
                false += 1
                break
    assert false / 200 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.slow
def test_candidates_that_follow_verdicts_rarely_pass_falsely():
    """After one true promotion, each refused night keeps a tenth of its answers: it follows the verdicts."""
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(200):
        base, candidate = rng.random(ITEMS) < 0.1, rng.random(ITEMS) < 0.4
        production = candidate if promoted(base, candidate, 0, FAMILYWISE) else base
        for night in range(1, 30):
            if promoted(production, candidate, night, FAMILYWISE):
                false += 1
                break
            candidate = np.where(rng.random(ITEMS) < 0.1, candidate, rng.random(ITEMS) < 0.4)
    assert false / 200 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.slow
@pytest.mark.parametrize(("asks", "power"), [(0, 0.97), (6, 0.7)])
def test_twenty_points_on_240_items_are_seen(asks, power):
    rng = np.random.default_rng(3)
    seen = [
        promoted(rng.random(ITEMS) < 0.3, rng.random(ITEMS) < 0.5, asks, SETTINGS) for _ in range(50)
    ]  # independent answers: the hardest case, as nothing cancels
    assert np.mean(seen) >= power
