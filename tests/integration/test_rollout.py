"""Rollouts on a real ledger, MLflow database and journal: earned, refused, turned back."""

import json
import time

import pytest

from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.results import RolloutAnswer
from pipelines.core.traffic_split import Route
from pipelines.models.base import digest_base
from pipelines.operations import rollout
from pipelines.operations.status import print_status
from pipelines.stores import open_ledger
from tests.support.rollouts import register, registry_of, rollout_config, send

ANN = rollout.Provenance("ann", "a test", "run-1")
MOVED, ABORT, NOTHING = RolloutAnswer.MOVED, RolloutAnswer.ABORT, RolloutAnswer.NOTHING


@pytest.fixture
def config(home):
    return rollout_config(home)


def ledger_of(config):
    return open_ledger(config)


def aliases(config):
    registry = registry_of(config)
    found = {name: registry.by_alias(name) for name in ("candidate", "canary", "production", "previous")}
    return {name: adapter.version for name, adapter in found.items() if adapter}


def promote(config, candidate, production=None):
    """Through all stages with good traffic."""
    assert rollout.start_shadow(config, ANN).answer is MOVED
    send(config, candidate, "shadow", 60, (0.2, 0.9), production)
    for number, to in enumerate(("canary_05", "canary_25", "production")):
        assert rollout.advance(config, ANN, to, candidate).answer is MOVED, to
        send(config, candidate, "canary", 400, (0.2, 0.9), production, seed=number)


def test_a_good_candidate_goes_through_every_stage(config):
    one = register(config, 1)
    assert aliases(config) == {"candidate": "1"}
    assert rollout.start_shadow(config, ANN).digest == one.digest
    assert rollout.assess_stage(config, "shadow").answer is RolloutAnswer.CONTINUE
    assert rollout.advance(config, ANN, "canary_05", one).answer is RolloutAnswer.CONTINUE
    send(config, one, "shadow", 60, (0.2, 0.9))
    seen = rollout.assess_stage(config, "shadow")
    assert (seen.answer, seen.evidence["pairs"], seen.evidence["answers"]) == (RolloutAnswer.PROMOTE, 60, 60)
    assert rollout.advance(config, ANN, "canary_05", one).answer is MOVED
    assert aliases(config) == {"candidate": "1", "canary": "1"}
    send(config, one, "canary", 400, (0.2, 0.9))
    assert rollout.assess_stage(config, "canary_05").answer is RolloutAnswer.PROMOTE
    for to in ("canary_25", "production"):
        assert rollout.advance(config, ANN, to, one).answer is MOVED
    moves = ledger_of(config).promotions()
    assert [move.move for move in moves] == ["shadow", "canary_05", "canary_25", "production"]
    assert moves[-1].route == Route(production=one, has_previous=True)
    assert (moves[-1].actor, moves[-1].reason, moves[-1].run_id) == ("ann", "a test", "run-1")
    assert moves[-1].evidence["log_evidence_not_worse"] >= moves[-1].evidence["bar_promote"]
    assert aliases(config) == {"production": "1"}


def test_a_rollback_brings_the_previous_version_back_once(config):
    one = register(config, 1)
    promote(config, one)
    two = register(config, 2)
    promote(config, two, one)
    assert aliases(config) == {"production": "2", "previous": "1"}
    assert rollout.rollback(config, rollout.Provenance("bob", "it is rude")).answer is MOVED
    assert aliases(config) == {"production": "1"}
    assert ledger_of(config).promotion().reason == "it is rude"
    number = ledger_of(config).promotion().number
    assert rollout.rollback(config, ANN).answer is NOTHING
    assert ledger_of(config).promotion().number == number
    assert (
        rollout.start_shadow(config, ANN).answer is NOTHING
    )  # 2 was promoted and taken back: it waits no more


def test_a_rollout_starts_only_against_what_was_measured(config):
    one = register(config, 1)
    late = register(config, 2)  # of the night after, while version 1 was in its rollout
    assert rollout.start_shadow(config, ANN, "1").answer is MOVED
    send(config, one, "shadow", 60, (0.2, 0.9))
    for number, to in enumerate(("canary_05", "canary_25", "production")):
        rollout.advance(config, ANN, to, one)
        send(config, one, "canary", 400, (0.2, 0.9), seed=number)
    assert ledger_of(config).promotion().route.production == one
    waits = rollout.start_shadow(config, ANN)
    said = "Version 2 was measured against the bare base model, and version 1 is in production now."
    assert (waits.answer, waits.headline, waits.version) == (NOTHING, said, "2")
    assert "trains its feedback again" in waits.reasons[0]
    with pytest.raises(InputError, match=r"bare base model(.|\n)*--from 2026-01-02 --to 2026-01-02"):
        rollout.start_shadow(config, ANN, "2")
    assert [move.move for move in ledger_of(config).promotions()][-1] == "production"

    three = register(config, 3, one)
    rollout.rollback(config, ANN)
    said = "Version 3 was measured against version 1, and the bare base model is in production now."
    assert rollout.start_shadow(config, ANN).headline == said
    assert rollout.start_shadow(config, ANN, "2").digest == late.digest, "the base is back"
    rollout.abort(config, ANN)
    assert rollout.start_shadow(config, ANN, "2").answer is MOVED
    assert three.version == "3"


def test_an_older_versions_night_says_what_it_was_measured_against(config):
    one = register(config, 1)
    client, name = registry_of(config)._client, config.register_.name
    client.delete_model_version_tag(name, "1", "baseline_digest")
    with pytest.raises(InputError, match="Nothing says what version 1 was measured against"):
        rollout.start_shadow(config, ANN, "1")
    facts = {"baseline": {"kind": "base"}, "adapter_digest": one.digest}
    document = {"run_id": "2026-01-01", "night": "2026-01-01", "outcome": "trained", "reasons": []}
    ledger_of(config).add_decision(document | {"facts": facts, "evidence": {}, "ledger_head": ""}, "")
    assert rollout.start_shadow(config, ANN, "1").answer is MOVED


def test_a_rollback_to_the_base_needs_the_same_base_model(config):
    one = register(config, 1)
    promote(config, one)
    weights = f"{config.path(config.model.base)}/model.safetensors"
    with open(weights, "w") as file:
        file.write("others")
    digest_base.cache_clear()  # each command is a process of its own
    with pytest.raises(IntegrityError, match="the base model"):
        rollout.rollback(config, ANN)
    assert ledger_of(config).promotion().route.production == one
    with open(weights, "w") as file:
        file.write("{}")
    digest_base.cache_clear()
    assert rollout.rollback(config, ANN).answer is MOVED
    assert aliases(config) == {}


def test_a_rollback_refuses_an_adapter_that_was_changed(config):
    one = register(config, 1)
    promote(config, one)
    promote(config, register(config, 2), one)
    (registry_of(config).fetch("1") / "adapter_model.safetensors").write_text("changed")
    with pytest.raises(IntegrityError, match="version 1, were changed"):
        rollout.rollback(config, ANN)
    assert ledger_of(config).promotion().route.production.version == "2"


@pytest.mark.parametrize("how", [{"liked": (0.9, 0.2)}, {"liked": (0.5, 0.5), "fault": 0.4}])
@pytest.mark.parametrize("where", ["shadow", "canary"])
def test_a_bad_candidate_is_aborted_with_the_reason(config, how, where):
    one = register(config, 1)
    rollout.start_shadow(config, ANN)
    to = "canary_05"
    if where == "canary":
        send(config, one, "shadow", 60, (0.2, 0.9))
        rollout.advance(config, ANN, to, one)
        to = "canary_25"
    send(config, one, where, 600, seed=5, **how)
    assert rollout.assess_stage(config, "shadow" if where == "shadow" else "canary_05").answer is ABORT
    for _ in range(2):  # asked again, it says so again
        assert rollout.advance(config, ANN, to, one).answer is ABORT
    last = ledger_of(config).promotion()
    assert (last.move, last.actor, last.route) == ("abort", "judge", Route())
    assert last.reason
    assert aliases(config) == {}


def test_an_approval_of_other_content_is_void(config):
    one = register(config, 1)
    rollout.start_shadow(config, ANN)
    send(config, one, "shadow", 60, (0.2, 0.9))
    other = type(one)("1", "0" * 64)
    with pytest.raises(InputError, match="in rollout"):
        rollout.advance(config, ANN, "canary_05", other)
    (registry_of(config).fetch("1") / "adapter_model.safetensors").write_text("changed")
    with pytest.raises(IntegrityError, match="version 1, were changed"):
        rollout.advance(config, ANN, "canary_05", one)
    assert [move.move for move in ledger_of(config).promotions()] == ["shadow"]


def test_no_stage_is_skipped(config):
    one = register(config, 1)
    rollout.start_shadow(config, ANN)
    send(config, one, "shadow", 60, (0.2, 0.9))
    for to in ("canary_25", "production"):
        with pytest.raises(InputError, match="and it is in shadow"):
            rollout.advance(config, ANN, to, one)


def test_without_a_candidate_or_a_rollout_nothing_moves(config):
    registry_of(config).prepare()
    assert rollout.start_shadow(config, ANN).answer is NOTHING
    assert rollout.abort(config, ANN).answer is NOTHING
    assert rollout.rollback(config, ANN).answer is NOTHING
    seen = rollout.assess_stage(config, "shadow")
    assert (seen.answer, seen.headline) == (NOTHING, "no rollout is under way")
    with pytest.raises(InputError, match="no registered version"):
        rollout.start_shadow(config, ANN, "7")


def test_each_headline_says_what_happened(config):
    one = register(config, 1)
    assert rollout.start_shadow(config, ANN).headline == "version 1 is in rollout"
    again = rollout.start_shadow(config, ANN)
    assert (again.answer, again.headline) == (MOVED, "version 1 is in shadow already")
    other = rollout.start_shadow(config, rollout.Provenance("bob", "", "run-2"))
    assert (other.answer, other.headline) == (
        MOVED,
        "version 1 is in shadow already: the run run-1 moved it there",
    )
    assert len(ledger_of(config).promotions()) == 1
    seen = rollout.assess_stage(config, "canary_05")
    assert (seen.answer, seen.headline) == (
        ABORT,
        "the stage canary_05 is not under way: version 1 is in shadow",
    )
    back = rollout.rollback(config, ANN)
    assert (back.answer, back.headline) == (
        MOVED,
        "the rollout of version 1 ended; the bare base model answers as before",
    )
    assert rollout.assess_stage(config, "shadow").answer is NOTHING
    rollout.start_shadow(config, ANN, one.version)
    send(config, one, "shadow", 60, (0.2, 0.9))
    for number, to in enumerate(("canary_05", "canary_25", "production")):
        rollout.advance(config, ANN, to, one)
        send(config, one, "canary", 400, (0.2, 0.9), seed=number)
    assert rollout.rollback(config, ANN).headline == "the bare base model answers again"


def test_status_shows_who_waits_and_the_stage_under_way(config, capsys):
    one = register(config, 1)
    rollout.start_shadow(config, ANN)
    since = ledger_of(config).promotion().at
    assert print_status(config, 14, False, None) == 0
    assert capsys.readouterr().out.splitlines() == [
        "live adapter  none; the base model answers",
        f"candidate     version 1 ({one.digest[:12]})",
        f"rollout       version 1 in shadow since {since[:16].replace('T', ' ')} UTC",
        "no night decided yet: run `make nightly`",
    ]
    assert print_status(config, 14, True, None) == 0
    shown = json.loads(capsys.readouterr().out)
    named = {"version": "1", "digest": one.digest}
    assert shown["candidate"] == named
    assert shown["rollout"] == {**named, "stage": "shadow", "since": since}
    rollout.abort(config, ANN)
    assert print_status(config, 14, True, None) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["candidate"], shown["rollout"]) == (None, None)


def test_time_without_evidence_ends_the_rollout(home):
    stages = [{**stage, "max_s": 1} for stage in rollout_config(home).model_dump()["promote"]["stages"]]
    config = rollout_config(home, stages=stages)
    one = register(config, 1)
    rollout.start_shadow(config, ANN)
    time.sleep(1.1)
    assert rollout.advance(config, ANN, "canary_05", one).answer is ABORT
    assert "Not enough evidence" in ledger_of(config).promotion().reason
