"""Decisions about written answers: graded scores, and labels that tell of one text only."""

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.core.config import Gate
from pipelines.core.facts.common import Comparison, Interval, PairedCounts
from pipelines.core.facts.evaluate import Disliked, EvaluateFacts, Forgetting
from pipelines.evaluation.scores import paired_scores, told
from pipelines.policy.night import checks
from pipelines.policy.night.measured import measured_from
from pipelines.policy.rollout.pairs import Pair, pair_of


def facts(**parts):
    return measured_from(EvaluateFacts(**parts).model_dump(), {}, {}, {})


def check_of(before, after, margin=0.02, alpha=0.05):
    paired = paired_scores({"production": np.array(before), "candidate": np.array(after)})
    return checks.improvement(facts(paired=paired, measure="chrf"), margin, alpha)


def test_a_graded_gain_passes_by_its_size():
    rng = np.random.default_rng(1)
    before = rng.uniform(0.3, 0.7, 200).round(3)
    small, large = (check_of(before, (before + gain).round(3)) for gain in (0.01, 0.2))
    assert (small.answer, large.answer) == ("fail", "pass")
    assert small.value == pytest.approx(0.01)
    assert large.low < 0.2 < large.high
    assert large.measure == "task chrf, candidate minus production"
    assert "the candidate scores higher on 200, production on 0" in large.detail


@pytest.mark.slow
def test_graded_scores_keep_the_error_rate():
    """Candidates that are exactly as good as the margin pass in at most alpha of worlds; better ones pass."""
    rng, passed = np.random.default_rng(2), {0.02: 0, 0.2: 0}
    for gain in passed:
        for _ in range(300):
            before = rng.beta(0.6, 0.6, 150)
            after = np.clip(before + rng.normal(0, 0.3, 150), 0, 1)
            after += gain - (after - before).mean() + rng.normal(0, (after - before).std() / np.sqrt(150))
            change = np.clip(after - before, -1, 1).round(3)
            paired = paired_scores({"production": np.zeros(150), "candidate": change})
            passed[gain] += checks.improvement(facts(paired=paired), 0.02, 0.05).answer == "pass"
    assert passed[0.02] <= 0.05 * 300 + 3 * np.sqrt(0.05 * 0.95 * 300)
    assert passed[0.2] >= 0.95 * 300


def test_differences_must_be_those_of_all_items():
    with pytest.raises(ValidationError, match="not those of 3 items"):
        PairedCounts(n=3, only_production=0, only_candidate=1, changes=((500, 1), (0, 1)))


def test_another_text_than_the_liked_one_may_be_right_too():
    items = [{"answer": "Yes.", "wrong": None, "tenant": "t", "person": ("t", str(i))} for i in range(4)]
    given = {"production": ["Yes.", "Yes.", "No.", "Hm."], "candidate": ["Yes.", "Sure.", "Yes.", "Sure."]}
    assert [one.outcome for one in told(given, items, is_closed=False)] == [
        "same",
        "not_won",
        "not_lost",
        "open",
    ]
    closed = ["both", "only_production", "only_candidate", "neither"]
    assert [one.outcome for one in told(given, items)] == closed


@pytest.mark.parametrize(
    ("candidate", "label", "closed", "written"),
    [
        ("Yes.", "Yes.", Pair(True, 0, 0), Pair(True, 0, 0)),
        ("Sure.", "Yes.", Pair(False, -1, -1), Pair(False, -1, 0)),  # people liked production's
        ("Sure.", "Sure.", Pair(False, 1, 1), Pair(False, 1, 1)),  # they corrected it to the candidate's
        ("Sure.", "No.", Pair(False, 0, 0), Pair(False, 0, 1)),  # to another text
        ("Sure.", None, Pair(False, 0, 1), Pair(False, 0, 1)),
    ],
)
def test_a_pair_of_written_answers_has_a_range(candidate, label, closed, written):
    assert pair_of(candidate, "Yes.", label) == closed
    assert pair_of(candidate, "Yes.", label, is_closed=False) == written


def test_forgetting_of_written_answers_tells_and_does_not_hold():
    """Where people's labels cannot tell, the suite and the general questions guard against loss."""
    nothing = Comparison(n=0, production=0, candidate=0, difference=Interval(value=0, low=-1, high=1))
    part = Forgetting(
        **dict(nothing),
        paired=PairedCounts(n=0, only_production=0, only_candidate=0),
        disliked=Disliked(same=10, not_won=6, open=20),
    )
    check = checks.forgetting("adapter", facts(forgetting=part), Gate())
    assert check.answer == "cannot conclude"
    assert not check.blocks
    assert "36 rated answers" in check.detail
