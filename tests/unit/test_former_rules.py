"""What version 0.1 would have decided on what is recorded today."""

from __future__ import annotations

from datetime import date, timedelta

from pipelines.core.config import Decide, Gate
from pipelines.core.contract import Verdict
from pipelines.core.facts.common import Baseline
from pipelines.policy.night.decide import TrainingSituation, decide
from pipelines.policy.night.level import Asks
from pipelines.policy.night.measured import measured_from
from pipelines.policy.night.rules import FORMER, TODAY
from tests.support.facts import facts_like, group

THEN = FORMER["0.1"]
NIGHT = date(2026, 3, 1)
FIRST = Asks(NIGHT)
FAIR = {"stereotype": [group("not worse")], "slices": [], "answer": "not worse"}
LATENCY = {"latency_ms": {"production": 50.0, "candidate": 51.0, "ratio": 1.02}}


def found(gains=60, groups=FAIR, **evaluate):
    paired = {"n": 240, "both": 20, "only_production": 10, "only_candidate": gains, "neither": 210 - gains}
    measured = facts_like("evaluate", paired=paired, **evaluate)
    safe = facts_like("safety", answer="safe", reasons=[])
    return measured_from(measured, LATENCY, facts_like("fairness", **groups), safe)


def answers(rules, measured, asks=FIRST, anchors=(), settings=None):
    kind = measured.evaluate.baseline
    table, verdict = rules.check(kind, measured, settings or Gate(), asks, anchors, None)
    return {check.check: check.answer for check in table}, verdict


def test_the_level_fell_with_every_question():
    asked = Asks(NIGHT, tuple(NIGHT - timedelta(days=day) for day in range(300, 0, -1)), of_suite=300)
    assert answers(TODAY, found(50), asked)[0]["improvement"] == "pass"
    assert answers(THEN, found(36), asked)[0]["improvement"] == "fail"
    assert answers(THEN, found(50))[0]["improvement"] == "pass"


def test_answers_without_a_label_did_not_count():
    forgetting = {
        "n": 60, "production": 0.5, "candidate": 0.5,
        "difference": {"value": 0.0, "low": -0.1, "high": 0.1},
        "paired": {"n": 60, "both": 30, "only_production": 0, "only_candidate": 0, "neither": 30},
        "disliked": {"open": 60},
    }  # fmt: skip
    measured = found(baseline="adapter", forgetting=forgetting)
    assert answers(TODAY, measured)[0]["forgetting"] == "cannot conclude"
    assert answers(THEN, measured)[0]["forgetting"] == "pass"


def test_no_anchor_was_asked():
    anchors = (Baseline(kind="base"),)
    today, verdict = answers(TODAY, found(), anchors=anchors)
    then, verdict_then = answers(THEN, found(), anchors=anchors)
    assert set(today) > set(then)
    assert (verdict, verdict_then) == (Verdict.HOLD, Verdict.PROCEED)


def test_groups_without_power_held_nothing():
    unclear = group("cannot conclude") | {"difference": 0.5, "high": 0.9}
    measured = found(groups={"stereotype": [unclear], "slices": [], "answer": "cannot conclude"})
    today, then = answers(TODAY, measured), answers(THEN, measured)
    assert today[0]["fairness"] == then[0]["fairness"] == "cannot conclude"
    assert (today[1], then[1]) == (Verdict.HOLD, Verdict.PROCEED)


def test_no_candidate_waited():
    measured = found(16, fresh={"won": 30, "lost": 10, "neither": 60})
    waits = Gate(max_nights_waiting=30, rating_odds=1)
    assert answers(TODAY, measured, settings=waits)[1] is Verdict.WAIT
    assert answers(THEN, measured, settings=waits)[1] in (Verdict.HOLD, Verdict.REJECT)


def test_tried_rows_were_used_up_and_nobody_was_capped():
    now = TrainingSituation(
        corrections=100, likes=50, tried=120, not_counted=100, drift=False,
        nights_since_training=9, cpu_hours_30d=0.0, gpu_hours_30d=0.0, force=False, cause="schedule",
    )  # fmt: skip
    then = THEN.situation(now)
    assert (then.corrections, then.likes, then.tried, then.not_counted) == (0, 30, 0, 0)
    assert decide(then, Decide(min_corrections=30)).verdict is Verdict.PROCEED
    assert decide(then, Decide(min_corrections=31)).verdict is Verdict.SKIP
    assert TODAY.situation(now) is now
