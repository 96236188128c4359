"""The gate's table: closed on anything missing, honest over many nights with one holdout."""

import copy
import math

import numpy as np
import pytest

from pipelines.core.config import Gate
from pipelines.core.contract import Verdict
from pipelines.policy.night.gate import alpha_tonight, judge
from pipelines.policy.stats.paired import sign_test

SETTINGS = Gate()
ITEMS = 240


def good_facts():
    fine = [{"answer": "not worse"}]
    better = {"value": 0.2, "low": 0.1, "high": 0.3}
    level = {
        "n": 300,
        "production": 0.5,
        "candidate": 0.5,
        "difference": {"value": 0.0, "low": -0.03, "high": 0.03},
    }
    return {
        "evaluate": {
            "baseline": "adapter",
            "paired": {"n": ITEMS, "both": 60, "only_production": 12, "only_candidate": 60, "neither": 108},
            "difference": better,
            "forgetting": {"n": 300, "paired": {"n": 300, "only_production": 15, "only_candidate": 15}},
            "general": copy.deepcopy(level),
            "perplexity": {"production": 20.0, "candidate": 21.0, "ratio": 1.05},
            "latency_ms": {"production": 50.0, "candidate": 51.0, "ratio": 1.02},
        },
        "fairness": {"stereotype": fine, "slices": fine, "answer": "not worse"},
        "safety": {"answer": "safe"},
    }  # fmt: skip


def verdict(facts, baseline="adapter", settings=SETTINGS, asks=0):
    return judge({"kind": baseline}, facts["evaluate"], facts["fairness"], facts["safety"], settings, asks)


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
def test_a_number_that_is_none_never_passes(path, broken):
    facts = good_facts()
    part = facts["evaluate"]
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = broken
    assert verdict(facts)[1] is Verdict.HOLD


@pytest.mark.parametrize("part", ["paired", "forgetting", "general"])
def test_no_items_never_pass(part):
    facts = good_facts()
    facts["evaluate"][part] |= {"n": 0}
    if part == "forgetting":
        facts["evaluate"][part]["paired"] = {"n": 0, "only_production": 0, "only_candidate": 0}
    assert verdict(facts)[1] is Verdict.HOLD


def test_the_bare_base_as_baseline_is_said_in_words():
    facts = good_facts()
    facts["evaluate"] |= {"baseline": "base", "forgetting": None}
    rows, answer = verdict(facts, baseline="base")
    assert answer is Verdict.PROCEED
    assert "no adapter is in production" in rows[0].detail
    assert verdict(facts, baseline="adapter")[1] is Verdict.REJECT  # pinned one thing, measured another
    facts["evaluate"]["baseline"] = "adapter"
    assert verdict(facts, baseline="adapter")[1] is Verdict.HOLD  # an adapter may forget: nobody looked


LOST = {"n": 300, "paired": {"n": 300, "only_production": 70, "only_candidate": 10}}
FEW = {"n": 20, "paired": {"n": 20, "only_production": 0, "only_candidate": 0}}
UNSURE = {"n": 20, "difference": {"value": 0.0, "low": -0.2, "high": 0.2}}
BAD = [
    ("evaluate", "forgetting", LOST, Verdict.REJECT),
    ("evaluate", "forgetting", FEW, Verdict.HOLD),
    ("evaluate", "general", UNSURE, Verdict.HOLD),
    ("evaluate", "perplexity", {"ratio": 1.6}, Verdict.REJECT),
    ("evaluate", "latency_ms", {"ratio": 2.1}, Verdict.REJECT),
    ("fairness", "stereotype", [{"answer": "worse"}], Verdict.REJECT),
    ("safety", "answer", "unsafe", Verdict.REJECT),
    ("safety", "answer", "cannot conclude", Verdict.REJECT),
]  # fmt: skip


@pytest.mark.parametrize(("forgetting", "expected"), [(FEW, Verdict.PROCEED), (LOST, Verdict.REJECT)])
def test_against_the_bare_base_doubt_about_forgetting_is_no_reason_to_wait(forgetting, expected):
    facts = good_facts()
    facts["evaluate"] |= {"baseline": "base", "forgetting": forgetting}
    assert verdict(facts, baseline="base")[1] is expected


@pytest.mark.parametrize(("step", "key", "value", "expected"), BAD)
def test_each_harm_alone_stops_the_candidate(step, key, value, expected):
    facts = good_facts()
    facts[step][key] = value
    assert verdict(facts)[1] is expected


def test_unclear_fairness_is_shown_and_blocks_only_when_asked_to():
    facts = good_facts()
    facts["fairness"] = {
        "stereotype": [{"answer": "cannot conclude"}],
        "slices": [],
        "answer": "cannot conclude",
    }
    rows, answer = verdict(facts)
    assert (answer, answer_of(rows, "fairness")) == (Verdict.PROCEED, "cannot conclude")
    strict = SETTINGS.model_copy(update={"hold_on_unclear_fairness": True})
    assert verdict(facts, settings=strict)[1] is Verdict.HOLD


def paired(before, after):
    return {
        "n": len(before),
        "only_candidate": int((after & ~before).sum()),
        "only_production": int((before & ~after).sum()),
    }


def promoted(before, after, asks, settings):
    counts = paired(before, after)
    p_value = sign_test(counts["only_candidate"], counts["only_production"])
    if p_value > 2 * alpha_tonight(settings.alpha, asks):
        return False  # far from promotion: spares the interval, which agrees with this test
    facts = good_facts()
    facts["evaluate"]["paired"] = counts
    return verdict(facts, settings=settings, asks=asks)[1] is Verdict.PROCEED


def test_levels_of_all_nights_sum_to_alpha():
    assert sum(alpha_tonight(0.05, k) for k in range(100_000)) == pytest.approx(0.05, abs=1e-6)
    assert alpha_tonight(0.05, 0) == 0.025


@pytest.mark.parametrize("stickiness", [0.0, 0.7])
def test_thirty_nights_of_an_equal_candidate_are_rarely_promoted_once(stickiness):
    """`stickiness` is the share of items on which every candidate answers as production does."""
    settings, rng = SETTINGS.model_copy(update={"min_improvement": 0.0}), np.random.default_rng(1)
    false = 0
    for _ in range(200):
        production = rng.random(ITEMS) < 0.4
        sticky = rng.random(ITEMS) < stickiness
        for night in range(30):
            candidate = np.where(sticky, production, rng.random(ITEMS) < 0.4)
            if promoted(production, candidate, night, settings):
                false += 1
                break
    assert false / 200 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


def test_adaptive_nights_that_learn_only_the_verdict_are_rarely_promoted_falsely():
    """After one true promotion, each refused night keeps a tenth of its answers: it follows the verdicts."""
    settings, rng = SETTINGS.model_copy(update={"min_improvement": 0.0}), np.random.default_rng(2)
    false = 0
    for _ in range(200):
        base, candidate = rng.random(ITEMS) < 0.1, rng.random(ITEMS) < 0.4
        production = candidate if promoted(base, candidate, 0, settings) else base
        for night in range(1, 30):
            if promoted(production, candidate, night, settings):
                false += 1
                break
            candidate = np.where(rng.random(ITEMS) < 0.1, candidate, rng.random(ITEMS) < 0.4)
    assert false / 200 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(("asks", "power"), [(0, 0.97), (6, 0.7)])
def test_twenty_points_on_240_items_are_seen(asks, power):
    rng = np.random.default_rng(3)
    seen = [
        promoted(rng.random(ITEMS) < 0.3, rng.random(ITEMS) < 0.5, asks, SETTINGS) for _ in range(50)
    ]  # independent answers: the hardest case, as nothing cancels
    assert np.mean(seen) >= power
