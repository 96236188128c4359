"""Typed facts: stored as before, strict about types, and readable in part."""

import pytest
from pydantic import ValidationError

from pipelines.core.errors import IntegrityError
from pipelines.core.facts.curate import CurateFacts
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.drift import DriftFacts
from pipelines.core.facts.evaluate import EvaluateFacts
from pipelines.core.facts.reading import as_json, facts_of, parsed, readable_parts
from pipelines.core.facts.record import DecisionFacts, decision_facts
from pipelines.core.facts.register import RegisterFacts
from pipelines.core.facts.safety import SafetyFacts
from pipelines.core.facts.train import TrainFacts
from tests.support.contexts import manifest
from tests.support.facts import FACTS, facts_like

MODELS = [DriftFacts, DecideFacts, CurateFacts, TrainFacts, EvaluateFacts, RegisterFacts]
NIGHT = "2026-01-01"


@pytest.mark.parametrize("model", MODELS)
def test_what_is_read_is_stored_again_as_it_was(model):
    stored = FACTS[model.step]
    assert as_json(parsed(stored, model)) == stored


@pytest.mark.parametrize("model", MODELS)
def test_fields_of_newer_versions_are_ignored(model):
    stored = facts_like(model.step, of_a_later_version=1)
    assert as_json(parsed(stored, model)) == FACTS[model.step]


def test_planted_secrets_keep_their_stored_name():
    found = SafetyFacts(planted_secrets=(), answer="safe")
    assert as_json(found) == {"canaries": [], "answer": "safe"}
    assert parsed({"canaries": [], "answer": "safe"}, SafetyFacts) == found
    assert parsed(FACTS["curate"], CurateFacts).counts.planted_secrets == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"drift": "no"}, {"likes": "20"}, {"likes": -1}, {"likes": True}, {"cpu_hours_30d": float("nan")},
        {"baseline": {"kind": "other"}}, {"window": None}, {"cause": None},
    ],
)  # fmt: skip
def test_a_wrong_type_is_refused_by_name(wrong):
    stored = facts_like("decide", **wrong)
    (name,) = wrong
    with pytest.raises(IntegrityError, match=rf"decide in run {NIGHT} .*{name}"):
        facts_of({"decide": manifest("decide", NIGHT, stored)}, DecideFacts)


def test_a_missing_field_is_refused():
    stored = {name: value for name, value in FACTS["decide"].items() if name != "window"}
    with pytest.raises(ValidationError, match="window"):
        parsed(stored, DecideFacts)


def test_facts_from_before_data_faults_are_read():
    stored = {name: value for name, value in FACTS["decide"].items() if name != "data_faults"}
    assert parsed(stored, DecideFacts).data_faults == ()


def test_one_broken_part_leaves_the_others():
    paired = {"n": 10, "only_production": 8, "only_candidate": 8}
    found, wrong = readable_parts(facts_like("evaluate", paired=paired, perplexity=None), EvaluateFacts)
    assert (found.paired, found.baseline) == (None, "base")
    assert "more differing answers than the 10 items" in wrong["paired"]
    assert list(wrong) == ["paired"]


def test_a_decision_from_before_most_facts_is_read():
    assert decision_facts({"cause": "schedule", "drift": "?"}) == DecisionFacts(cause="schedule")
