"""When training is worth it: every rule, and the order in which they answer."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.config import Decide
from pipelines.core.contract import Verdict
from pipelines.policy.night import decide as policy
from pipelines.policy.night.decide import RULES, TrainingSituation, decide

LIMITS = Decide(
    min_corrections=100,
    min_corrections_on_drift=40,
    cool_down_nights=2,
    budget_cpu_hours_30d=10.0,
    budget_gpu_hours_30d=5.0,
)
PLAIN = TrainingSituation(
    corrections=80,
    likes=30,
    drift=False,
    nights_since_training=None,
    cpu_hours_30d=1.0,
    force=False,
    cause="schedule",
)


@pytest.mark.parametrize(
    ("changes", "rule", "verdict"),
    [
        ({"corrections": 0, "likes": 0}, "material", Verdict.SKIP),
        ({"corrections": 0, "likes": 0, "force": True}, "material", Verdict.SKIP),
        ({"tried": 110}, "material", Verdict.SKIP),
        ({"tried": 110, "drift": True}, "material", Verdict.SKIP),
        ({"tried": 110, "force": True}, "force", Verdict.PROCEED),
        ({"tried": 109}, "volume", Verdict.PROCEED),
        ({"tried": 30, "nights_since_training": 0}, "cool_down", Verdict.SKIP),
        ({"force": True, "cause": "manual", "corrections": 1, "likes": 0}, "force", Verdict.PROCEED),
        ({"force": True, "cpu_hours_30d": 99.0}, "force", Verdict.PROCEED),
        ({"data_faults": ("Nulls",), "force": True}, "force", Verdict.PROCEED),
        ({"data_faults": ("Nulls",), "cause": "alert:quality"}, "fault", Verdict.HOLD),
        ({"data_faults": ("Nulls",), "cpu_hours_30d": 99.0}, "fault", Verdict.HOLD),
        ({"cpu_hours_30d": 10.0}, "budget", Verdict.HOLD),
        ({"cpu_hours_30d": 10.0, "drift": True}, "budget", Verdict.HOLD),
        ({"gpu_hours_30d": 5.0}, "budget", Verdict.HOLD),
        ({"nights_since_training": 2}, "cool_down", Verdict.SKIP),
        ({"nights_since_training": 2, "drift": True}, "cool_down", Verdict.SKIP),
        ({"nights_since_training": 3}, "volume", Verdict.PROCEED),
        ({"drift": True, "corrections": 40, "likes": 0}, "drift", Verdict.PROCEED),
        ({"drift": True, "corrections": 39, "likes": 0}, "otherwise", Verdict.SKIP),
        ({"cause": "alert:quality", "corrections": 10, "likes": 30}, "drift", Verdict.PROCEED),
        ({}, "volume", Verdict.PROCEED),
        ({"corrections": 60, "likes": 39}, "otherwise", Verdict.SKIP),
        ({"corrections": 60, "likes": 40}, "volume", Verdict.PROCEED),
    ],
)
def test_the_first_rule_that_applies_decides(changes, rule, verdict):
    decision = decide(dataclasses.replace(PLAIN, **changes), LIMITS)
    assert (decision.rules[-1].rule, decision.verdict) == (rule, verdict)
    assert decision.reason == decision.rules[-1].detail
    assert all(said.answer == "pass" for said in decision.rules[:-1])


def test_no_cool_down_by_default_lets_every_night_train():
    assert decide(dataclasses.replace(PLAIN, nights_since_training=1), Decide()).verdict is Verdict.SKIP
    assert (
        decide(dataclasses.replace(PLAIN, nights_since_training=1, corrections=90), Decide()).verdict
        is Verdict.PROCEED
    )


def test_without_a_cool_down_a_night_may_train_twice():
    again = dataclasses.replace(PLAIN, nights_since_training=0, corrections=90, tried=30)
    assert decide(again, Decide()).verdict is Verdict.PROCEED


def test_the_table_in_the_docstring_names_the_rules_in_order():
    rows = [line.split("|")[1].strip() for line in policy.__doc__.splitlines() if line.startswith("|")]
    assert rows[2:] == list(RULES)


@given(
    st.builds(
        TrainingSituation,
        corrections=st.integers(0, 500),
        likes=st.integers(0, 500),
        drift=st.booleans(),
        nights_since_training=st.none() | st.integers(1, 40),
        cpu_hours_30d=st.floats(0, 100),
        force=st.booleans(),
        cause=st.sampled_from(["schedule", "manual", "alert:drift"]),
    )
)
def test_more_feedback_never_turns_a_training_off(situation):
    more = dataclasses.replace(situation, corrections=situation.corrections + 50)
    if decide(situation, LIMITS).verdict is Verdict.PROCEED:
        assert decide(more, LIMITS).verdict is Verdict.PROCEED
