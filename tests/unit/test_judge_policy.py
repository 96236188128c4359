"""Which judges prove themselves, what a proved one does at the gate, and labels joined with verdicts."""

from datetime import date

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks import planted_judges as planted
from benchmarks.judges import coverage, proof_of, rates, rejected
from pipelines.core.config import Config, Gate, Judge
from pipelines.core.contract import Verdict
from pipelines.core.facts.judge import JudgeFacts, JudgeProof
from pipelines.policy.night.gate import verdict_of
from pipelines.policy.night.judge import judge_check
from pipelines.policy.night.judge_proof import Compared, prove
from pipelines.policy.night.measured import measured_from
from pipelines.policy.stats.prediction_powered import prediction_powered_mean

NIGHT = date(2026, 1, 1)
PROVED = JudgeProof(digest="d", night=NIGHT, window_days=60, choices=200, people=90)


def row_of(proof=PROVED, gate=None, **counts):
    facts = JudgeFacts(**{"model": "m", "proof": proof, "won": 0, "lost": 0, "tied": 0, **counts})
    found = measured_from({"judge": facts.model_dump(mode="json")}, {}, {}, {})
    (row,) = judge_check(found, gate or Gate())
    return row


def test_a_proved_judge_rejects_a_candidate_that_loses():
    worse = row_of(won=20, lost=120, tied=60)
    assert worse.answer == "fail"
    assert worse.value == pytest.approx(-0.5)
    assert worse.high < -0.05
    assert verdict_of([worse]) is Verdict.REJECT
    assert row_of(won=100, lost=20, tied=80).answer == "pass"


def test_a_doubtful_loss_holds_nothing():
    row = row_of(won=20, lost=25, tied=10)
    assert (row.answer, row.blocks) == ("cannot conclude", False)
    assert verdict_of([row]) is Verdict.PROCEED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"proof": PROVED.model_copy(update={"lacks": ("it may be wrong",)})}, "it may be wrong"),
        ({"unreadable": 60, "max_unreadable": 0.1}, "60 of its verdicts could not be read"),
        ({"won": 0, "lost": 0, "tied": 0, "unjudged": 9, "stopped": "the server is away"}, "server is away"),
    ],
)
def test_a_judge_that_does_not_count_is_shown(change, words):
    row = row_of(**{"won": 0, "lost": 200, "tied": 0, **change})
    assert (row.answer, row.blocks) == ("cannot conclude", False)
    assert row.detail.startswith("shown only: ")
    assert words in row.detail
    assert verdict_of([row]) is Verdict.PROCEED


def test_nights_without_a_judge_have_no_row():
    assert judge_check(measured_from({}, {}, {}, {}), Gate()) == []


def test_facts_that_cannot_be_read_hold_the_night():
    (row,) = judge_check(measured_from({"judge": {"model": 1}}, {}, {}, {}), Gate())
    assert (row.answer, row.blocks) == ("cannot conclude", True)


def many(count, agreement, **other):
    usual = {"first": 0.0, "alike": 0.5}
    return [
        Compared(person=place, agreement=agreement, longer=1 if place % 2 else -1, **usual | other)
        for place in range(count)
    ]


@pytest.mark.parametrize(
    ("compared", "unreadable", "lack"),
    [
        (many(200, 1.0), 0, ""),
        (many(8, 1.0), 0, "it may agree with only"),
        (many(200, 0.5), 0, "it may agree with only"),
        (many(200, 1.0, first=1.0), 0, "it may prefer a place"),
        ([one._replace(agreement=(1 + one.longer) / 2) for one in many(200, 1.0)], 0, "prefer a length"),
        ([one._replace(longer=1) for one in many(200, 1.0)], 0, "there are no choices of the shorter answer"),
        (many(200, 1.0), 100, "100 of 300 verdicts could not be read"),
        ([], 5, "no choice of people"),
    ],
)
def test_what_a_proof_lacks_is_said(compared, unreadable, lack):
    proof = prove(compared, unreadable, 0, Judge(), "d", NIGHT)
    assert proof.is_proved == (not lack)
    assert lack in "; ".join(proof.lacks)


def test_each_person_counts_once_where_there_are_ten():
    """Nine people who always agree, and one with 500 choices of whom the judge shares none."""
    few = [Compared(place, 1.0, 0.0, 1, 0.5) for place in range(9)]
    proof = prove([*few, *(Compared("busy", 0.0, 0.0, 1, 0.5) for _ in range(500))], 0, 0, Judge(), "", NIGHT)
    assert proof.people == 10
    assert proof.agreement.value == pytest.approx(0.9)
    lone = prove([Compared("one", 1.0, 0.0, 1, 0.5)] * 100, 0, 0, Judge(), "", NIGHT)
    assert lone.agreement.low > 0.9  # a lone name may stand for all users of a service


def test_the_good_judge_proves_itself_and_others_do_not():
    made = planted.choices(np.random.default_rng(1), 150)
    assert proof_of(planted.good, made, Judge()).is_proved
    assert not any(proof_of(judge, made, Judge()).is_proved for judge in planted.BAD.values())


def test_mostly_longer_corrections_do_not_prove_the_longest():
    made = planted.choices(np.random.default_rng(2), 300, mostly_longer=0.95)
    proof = proof_of(planted.longest, made, Judge())
    assert proof.agreement.low > 0.8
    assert any("choices of the shorter answer" in lack for lack in proof.lacks)


@pytest.mark.slow
def test_rates_of_planted_judges():
    """As docs/judges.md states them, for 100 choices of people."""
    found = rates(100, worlds=40)
    assert found.pop("good") >= 0.85
    assert max(found.values()) <= 0.05


@pytest.mark.slow
def test_equal_candidates_are_hardly_ever_rejected():
    assert rejected(0.25, 0.25, 0.85, 100, worlds=500) <= 0.05
    assert rejected(0.1, 0.5, 0.85, 300, worlds=100) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [0.0, 0.6, 0.85])
def test_limits_of_labels_and_verdicts_hold_the_mean(accuracy):
    held, width, alone = coverage(30, accuracy, "at random", worlds=1_000)
    assert held >= 0.93
    assert width <= alone + 0.01
    if accuracy == 0.85:
        assert width < 0.7 * alone


@pytest.mark.slow
def test_labels_that_were_chosen_by_the_judge_deceive():
    """The docs warn of it; a test that did not show it would not know what random labels are for."""
    assert coverage(30, 0.85, "by the judge", worlds=200)[0] < 0.5


def test_the_weight_of_useless_and_of_perfect_predictions():
    rng = np.random.default_rng(4)
    truth = rng.choice([1.0, -1.0, 0.0], 400)
    perfect = prediction_powered_mean(truth[:40], truth[:40], truth[40:], 0.95)
    useless = prediction_powered_mean(truth[:40], np.zeros(40), np.zeros(360), 0.95)
    assert perfect.weight > 0.65
    assert useless.weight == 0
    assert perfect.mean.high - perfect.mean.low < 0.5 * (useless.mean.high - useless.mean.low)
    assert useless.mean.value == pytest.approx(truth[:40].mean())


def test_two_labels_are_too_few():
    with pytest.raises(ValueError, match="Label three items or more"):
        prediction_powered_mean([1, 0], [1, 0], [0], 0.95)


def test_labels_that_all_agree_are_not_certain():
    found = prediction_powered_mean(np.zeros(30), np.zeros(30), np.zeros(100), 0.95).mean
    assert found.low < -0.05 < 0.05 < found.high


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ({"url": "https://h/v1"}, "judge.model is not"),
        ({"url": "h:8000", "model": "m"}, "is no address of a server"),
        ({"url": "https://h", "model": "m", "rubric": " "}, "judge.rubric is blank"),
        ({"url": "https://me:secret@h", "model": "m"}, "holds a password"),
        ({"url": "https://h", "model": "m"}, "a label is right or wrong without a judge"),
    ],
)
def test_a_judge_that_does_not_fit_is_refused(judge, words):
    with pytest.raises(ValidationError, match=words):
        Config.model_validate({"profile": "p", "judge": judge})
