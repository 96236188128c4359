"""The gate's check of instructions: what it passes, holds and rejects, and when it says nothing."""

from __future__ import annotations

import math

import pytest

from benchmarks.instructions import answers
from pipelines.core.config import Config, Gate
from pipelines.core.contract import Verdict
from pipelines.core.facts.common import Baseline
from pipelines.policy.night.anchors import anchor_checks
from pipelines.policy.night.gate import check_candidate, verdict_of
from pipelines.policy.night.instructions import conclusion, instruction_check
from pipelines.policy.night.measured import measured_from
from tests.unit.test_gate_policy import asked, compared, good_facts, ratio

SETTINGS = Gate()
BASE = Baseline(kind="base")
WORLDS = 600


def instructions(both, lost, won, n=60):
    paired = {"n": n, "both": both, "only_production": lost, "only_candidate": won}
    return {**compared(n), "paired": {**paired, "neither": n - both - lost - won}}


def gate(part, settings=SETTINGS, **changes):
    """The row, None without one, and the verdict of the whole table."""
    facts = good_facts()
    facts["evaluate"] |= {"instructions": part} | changes
    found = measured_from(facts["evaluate"], facts["evaluate"], facts["fairness"], facts["safety"])
    table, verdict = check_candidate("adapter", found, settings, asked(0))
    return next((row for row in table if row.check == "instructions"), None), verdict


@pytest.mark.parametrize(
    ("part", "answer", "verdict"),
    [
        (instructions(30, 3, 3), "pass", Verdict.PROCEED),
        (instructions(10, 0, 40), "pass", Verdict.PROCEED),
        (instructions(30, 12, 5), "cannot conclude", Verdict.HOLD),
        (instructions(20, 25, 2), "fail", Verdict.REJECT),
        (instructions(0, 60, 0), "fail", Verdict.REJECT),
        (instructions(3, 2, 1), "cannot conclude", Verdict.PROCEED),  # production follows 5
        (instructions(0, 0, 0), "cannot conclude", Verdict.PROCEED),
        (instructions(0, 0, 40), "cannot conclude", Verdict.PROCEED),
    ],
)
def test_what_the_gate_makes_of_instructions(part, answer, verdict):
    row, found = gate(part)
    assert (row.answer, found) == (answer, verdict), row
    assert row.detail.startswith("of 60 instructions production follows ")
    assert row.limit == -0.2
    assert row.low <= row.value <= row.high


def test_few_instructions_followed_are_no_pass():
    """Where production follows hardly any, the candidate can lose none that would be seen."""
    row, _ = gate(instructions(2, 0, 0))
    assert (row.answer, row.blocks) == ("cannot conclude", False)
    assert row.detail == (
        "of 60 instructions production follows 2, the candidate 2: a candidate that follows none would lose "
        "no more than it may"
    )


def test_facts_without_instructions_have_no_row():
    """So older nights are judged as they were, and so are profiles that ask none."""
    assert gate(None) == (None, Verdict.PROCEED)


@pytest.mark.parametrize("broken", [{}, instructions(50, 20, 0), instructions(0, -1, 0), [], "many"])
def test_instructions_that_cannot_be_read_hold(broken):
    row, verdict = gate(broken)
    assert (row.answer, verdict) == ("cannot conclude", Verdict.HOLD)
    assert "the facts of evaluate cannot be read" in row.detail


def test_no_answers_hold():
    assert gate(instructions(0, 0, 0, n=0))[1] is Verdict.HOLD


def test_a_limit_of_one_only_shows_them():
    row, verdict = gate(instructions(0, 60, 0), Gate(max_instruction_loss=1.0))
    assert (row.answer, row.value, verdict) == ("cannot conclude", -1, Verdict.PROCEED)


def test_small_losses_of_many_nights_reach_the_anchor():
    """Each night's loss passes against production; what has been lost since the base does not."""
    facts = good_facts()["evaluate"] | {"instructions": instructions(20, 3, 0)}
    anchor = {"name": "the base", "digest": "", "general": compared(300), "perplexity": ratio(1.1)}
    facts["anchors"] = [anchor | {"instructions": instructions(20, 28, 0)}]
    found = measured_from(facts, facts, {}, {})
    assert [row.answer for row in instruction_check(found, 0.2, 0.05)] == ["pass"]
    rows = anchor_checks([BASE], found, SETTINGS)
    (row,) = [row for row in rows if row.check == "instructions against the base"]
    assert (row.answer, row.limit) == ("fail", -0.3)
    assert row.measure.endswith("candidate minus the base")
    assert verdict_of(rows) is Verdict.REJECT


@pytest.mark.parametrize(("share", "lost", "won"), [(0.5, 0.25, 0.05), (0.9, 0.2, 0.0), (0.25, 0.2, 0.0)])
def test_a_loss_at_the_limit_seldom_passes(share, lost, won):
    alpha = SETTINGS.alpha
    passed = answers(share, lost, won, 0.2, worlds=WORLDS)["pass"] / WORLDS
    assert passed <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / WORLDS)


@pytest.mark.parametrize(("changes", "passes"), [(0.05, 0.97), (0.1, 0.9), (0.15, 0.8)])
def test_an_equal_candidate_mostly_passes(changes, passes):
    """`changes`: of the instructions, the share that it newly follows, and as many that it no longer does."""
    found = answers(0.5, changes, changes, 0.2, worlds=WORLDS)
    assert found["pass"] / WORLDS >= passes
    assert found["fail"] / WORLDS <= 0.01


def test_a_large_loss_is_rejected():
    assert answers(0.5, 0.35, 0.05, 0.2, worlds=WORLDS)["fail"] / WORLDS >= 0.9
    assert answers(0.5, 0.35, 0.05, 0.2, worlds=WORLDS)["pass"] == 0


def test_the_sentence_names_the_possible_loss():
    facts = good_facts()["evaluate"] | {"instructions": instructions(30, 12, 5)}
    paired = measured_from(facts, facts, {}, {}).evaluate.instructions.paired
    answer, words = conclusion(paired, 0.2, 0.05)
    assert answer == "cannot conclude"
    assert words.startswith("of 60 instructions production follows 42, the candidate 35: a loss of 0.2")


def profile(items, **gate):
    return Config.model_validate({"profile": "x", "evaluate": {"instruction_items": items}, "gate": gate})


@pytest.mark.parametrize(("items", "gate"), [(13, {}), (1, {}), (20, {"max_instruction_loss": 0.1})])
def test_a_profile_that_asks_too_few_is_refused(items, gate):
    """Even equal answers would hold every night."""
    with pytest.raises(ValueError, match=f"instruction_items is {items}, and so few exclude no loss"):
        profile(items, **gate)
    row, verdict = gate_row(items, Gate(**gate))
    assert (row.answer, verdict) == ("cannot conclude", Verdict.HOLD)


@pytest.mark.parametrize(
    ("items", "gate"),
    [
        (0, {}),
        (14, {}),
        (60, {"max_instruction_loss": 0.05}),
        (1, {"max_instruction_loss": 1}),
        (3, {"alpha": 1}),
    ],
)
def test_as_many_as_can_exclude_the_loss_are_taken(items, gate):
    assert profile(items, **gate).evaluate.instruction_items == items
    if items:
        assert gate_row(items, Gate(**gate))[1] is Verdict.PROCEED


def gate_row(items, settings):
    """What the gate says where both models answer all of them alike, half of them rightly."""
    return gate(instructions((items + 1) // 2, 0, 0, n=items), settings)
