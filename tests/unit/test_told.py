"""Each decision is one sentence and three figures."""

from __future__ import annotations

import pytest

from pipelines.core.facts.common import Baseline, Change, Interval
from pipelines.core.facts.drift import ColumnFinding, DriftFacts, Reference, Tonight
from pipelines.core.facts.fairness import FairnessFacts, SliceFinding
from pipelines.core.facts.gate import Check, GateFacts
from pipelines.core.facts.reading import as_json
from pipelines.core.facts.record import DecisionFacts, decision_facts
from pipelines.core.facts.safety import Exposure, Harmful, SafetyFacts
from pipelines.reporting.told import (
    drift_told,
    fairness_told,
    forgetting_told,
    gate_told,
    night_told,
    safety_told,
)
from tests.support.manifests import make_manifest


def row(check="improvement", answer="pass", **numbers):
    measure = "task accuracy, candidate minus production"
    return Check(**{"check": check, "measure": measure, "answer": answer, "detail": "d"} | numbers)


def gate(*rows):
    return GateFacts(
        rows=rows, asks_before=0, alpha_tonight=0.001, suite_digest="s", baseline=Baseline(kind="base")
    )


BETTER = row(value=0.208, low=0.139, limit=0.02)


def figures(told):
    return [f"{one.value} {one.name}" for one in told.figures]


def test_a_gate_that_passed():
    told = gate_told(gate(BETTER, row("safety")))
    assert told.answer == "passed"
    assert told.sentence == "The candidate is better than the model that serves now and may go on."
    assert figures(told) == [
        "+20.8 points right answers, against now",
        "+13.9 points at least; asked for: 2 points",
        "2 of 2 checks passed",
    ]


def test_a_gain_of_a_graded_score_is_named():
    graded = row(value=0.208, measure="task chrf, candidate minus production")
    assert figures(gate_told(gate(graded)))[0] == "+20.8 points mean chrf, against now"


def test_a_gate_names_what_failed_before_what_is_open():
    open_, failed = row("general ability", "cannot conclude"), row("safety", "fail")
    told = gate_told(gate(BETTER, open_, failed, row("latency", "fail")))
    assert (told.answer, told.sentence) == (
        "rejected",
        "The candidate is not used: it does not pass safety and latency.",
    )
    told = gate_told(gate(row(answer="cannot conclude", limit=0.02), open_))
    assert told.sentence == (
        "The candidate is not used yet: improvement and general ability cannot be concluded."
    )
    assert figures(told)[0] == "unknown right answers, against now"
    doubt = row("fairness", "cannot conclude", blocks=False)
    assert gate_told(gate(BETTER, doubt)).answer == "passed"
    assert gate_told(gate()).answer == "held"


@pytest.mark.parametrize("answer", ["pass", "fail", "cannot conclude"])
def test_forgetting_in_figures(answer):
    told = forgetting_told(row("forgetting", answer, value=-0.01, low=-0.03, limit=-0.05))
    assert figures(told) == [
        "-1.0 points right answers of earlier nights",
        "-3.0 points at worst",
        "5 points may be lost",
    ]
    assert told.sentence.startswith({"pass": "The", "fail": "The", "cannot conclude": "Too"}[answer])


def test_nothing_to_forget_is_said():
    told = forgetting_told(row("forgetting", "pass", limit=-0.05))
    assert told.sentence == "There is nothing to forget: no adapter is in production."


def test_fairness_counts_its_groups():
    numbers = {"n": 9, "production": 0.1, "candidate": 0.1, "difference": 0.0, "low": -0.1, "high": 0.1}
    groups = tuple(
        SliceFinding(slice="locale", value=answer, answer=answer, **numbers)
        for answer in ("worse", "not worse", "cannot conclude")
    )
    told = fairness_told(FairnessFacts(slices=groups, answer="worse"))
    assert figures(told) == ["3 groups compared", "1 worse", "1 with too few questions"]
    assert fairness_told(FairnessFacts()).answer == "cannot conclude"


def test_safety_says_how_much_harm():
    harmful = Harmful(
        production_refusal_or_safe=Interval(value=0.95, low=0.9, high=0.99),
        candidate_refusal_or_safe=Interval(value=0.9, low=0.8, high=0.95),
        n=100,
        growth_of_harm=Change(value=0.05, low=0.0, high=0.1),
        answer="not worse",
    )
    secrets = (Exposure(exposure_bits=1.0, rank=5, extracted=True),) * 2
    told = safety_told(SafetyFacts(harmful=harmful, planted_secrets=secrets, answer="unsafe"))
    assert figures(told) == [
        "90.0% of harmful requests cause no harm",
        "+5.0 points harm, against now",
        "2 of 2 planted secrets given away",
    ]
    assert figures(safety_told(SafetyFacts()))[2] == "unknown planted secrets given away"


def drift(*drifted):
    columns = tuple(
        ColumnFinding(
            column=f"prompt_{place}",
            about="input",
            method="m",
            p_adjusted=0.01,
            moved=one,
            drifted=one,
            effect=0.5,
        )
        for place, one in enumerate(drifted)
    )
    return DriftFacts(
        drift=any(drifted),
        reference=Reference(source="first nights", nights=(), rows=9, rows_in_lake=9),
        tonight=Tonight(rows=50, rows_in_lake=60),
        columns=columns,
        topics=(),
        seed=1,
        cap=300,
        alpha=0.05,
    )


def test_drift_names_the_column_that_moved_most():
    told = drift_told(drift(True, False))
    assert told.sentence == "Tonight's traffic is unlike that of earlier nights: prompt 0 moved most."
    assert figures(told) == ["1 of 2 columns moved", "0 earlier nights", "50 rows of tonight"]
    assert [drift_told(drift(False)).answer, drift_told(drift()).answer] == ["no", "cannot conclude"]


def test_a_night_tells_what_it_came_to_and_the_record_keeps_it():
    manifests = {
        "drift": make_manifest("drift", facts=as_json(drift(True))),
        "gate": make_manifest("gate", facts=as_json(gate(BETTER, row("forgetting")))),
        "safety": make_manifest("safety", facts={"answer": 7}),  # cannot be read
        "fairness": make_manifest("fairness", facts={}),
    }
    told = night_told(manifests)
    assert [one.about for one in told] == ["gate", "forgetting", "drift"]
    stored = as_json(DecisionFacts(told=told))
    assert decision_facts(stored).told == told
    assert decision_facts({}).told == ()
