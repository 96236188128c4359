"""Decisions about written answers: graded scores, and labels that tell of one text only."""

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.core.config import Config, Gate
from pipelines.core.facts.common import Comparison, Interval, PairedCounts
from pipelines.core.facts.evaluate import Disliked, EvaluateFacts, Forgetting
from pipelines.evaluation.scores import paired_scores, told
from pipelines.evaluation.tasks import task_of
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


WORLDS = {  # differences whose mean is exactly the margin, 0.02
    "few large gains": lambda rng, n: rng.choice([0.5, 0.0], n, p=[0.04, 0.96]),
    "many small gains, few large losses": lambda rng, n: rng.choice([0.0388, -0.9], n, p=[0.98, 0.02]),
    "wide": lambda rng, n: rng.uniform(-0.48, 0.52, n),
    "like chrF of two models": lambda rng, n: rng.beta(2, 2, n) - rng.beta(1.92, 2.08, n),
}


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("items", [40, 150])
def test_graded_scores_keep_the_error_rate(world, items):
    """A candidate that is better by the margin only passes in at most alpha of worlds."""
    rng, alpha, tried = np.random.default_rng(items), 0.05, 400
    passed = 0
    for _ in range(tried):
        changes = WORLDS[world](rng, items).round(3)
        paired = paired_scores({"production": np.zeros(items), "candidate": changes})
        passed += checks.improvement(facts(paired=paired), 0.02, alpha).answer == "pass"
    assert passed <= alpha * tried + 3 * np.sqrt(alpha * (1 - alpha) * tried)


@pytest.mark.slow
def test_graded_gains_are_found():
    """10 points more, on 150 items whose differences spread by 0.3, are found in most worlds."""
    rng, found = np.random.default_rng(5), 0
    for _ in range(100):
        changes = np.clip(rng.normal(0.1, 0.3, 150), -1, 1).round(3)
        paired = paired_scores({"production": np.zeros(150), "candidate": changes})
        found += checks.improvement(facts(paired=paired), 0.02, 0.05).answer == "pass"
    assert found >= 80


def test_differences_must_be_those_of_all_items():
    with pytest.raises(ValidationError, match="not those of 3 items"):
        PairedCounts(n=3, only_production=0, only_candidate=1, changes=((500, 1), (0, 1)))


def test_another_text_than_the_liked_one_may_be_right_too():
    free, chosen = (
        task_of(
            Config(profile="t", register={"name": "m"}, model={"max_new_tokens": 64}, task={"kind": kind})
        )
        for kind in ("generate", "choose")
    )
    items = [{"answer": "Yes.", "wrong": None, "tenant": "t", "person": ("t", str(i))} for i in range(4)]
    given = {"production": ["Yes.", "Yes.", "No.", "Hm."], "candidate": ["Yes.", "Sure.", "Yes.", "Sure."]}
    assert [one.outcome for one in told(given, items, free)] == [
        "same",
        "not_won",
        "not_lost",
        "open",
    ]
    closed = ["both", "only_production", "only_candidate", "neither"]
    assert [one.outcome for one in told(given, items, chosen)] == closed


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
