"""A home that version 0.1 wrote still opens: its ledger, manifests, journal and profiles."""

import json
import shutil
import sqlite3
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipelines.cli.main import main
from pipelines.core.alerts import Action
from pipelines.core.config import load_config
from pipelines.core.contract import CLOSING, NIGHTLY, canonical_json
from pipelines.core.errors import ConfigError
from pipelines.core.facts.curate import CurateFacts
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.drift import DriftFacts
from pipelines.core.facts.evaluate import EvaluateFacts, EvaluateReadings
from pipelines.core.facts.fairness import FairnessFacts
from pipelines.core.facts.features import FeaturesFacts
from pipelines.core.facts.gate import GateFacts
from pipelines.core.facts.ingest import IngestFacts
from pipelines.core.facts.reading import as_json, facts_of, parsed
from pipelines.core.facts.record import decision_facts
from pipelines.core.facts.register import RegisterFacts
from pipelines.core.facts.safety import SafetyFacts
from pipelines.core.facts.train import TrainFacts
from pipelines.core.facts.validate import ValidateFacts
from pipelines.data import open_lake
from pipelines.data.feedback_states import feedback_states, trainings
from pipelines.stores import open_inbox, open_journal, open_ledger, open_run, run_ids
from pipelines.stores.signer import open_signer

OLD = Path(__file__).parents[1] / "fixtures" / "home_v0_1"
FACTS = (
    IngestFacts, ValidateFacts, FeaturesFacts, DriftFacts, DecideFacts, CurateFacts, TrainFacts,
    EvaluateFacts, FairnessFacts, SafetyFacts, GateFacts, RegisterFacts,
)  # fmt: skip


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """`--home` and `--config` of a copy, with the profile as it is written today."""
    folder = tmp_path_factory.mktemp("old")
    shutil.copytree(OLD / "home", folder / "home")
    with sqlite3.connect(folder / "home" / "mlflow.db") as mlflow:
        mlflow.executescript((OLD / "mlflow.sql").read_text().replace("@HOME@", str(folder / "home")))
    profile = (OLD / "profile.toml").read_text()
    lines = [line for line in profile.splitlines() if not line.startswith("source = ")]
    (folder / "profile.toml").write_text("\n".join(lines))
    return ["--home", str(folder / "home"), "--config", str(folder / "profile.toml")]


@pytest.fixture(scope="module")
def config(where):
    return load_config(where[3], where[1])


def test_every_link_of_the_ledger_holds(config):
    assert open_ledger(config).verify() == 163


def test_every_decision_is_signed_and_its_manifests_are_found(config):
    decisions = open_ledger(config).decisions()
    assert [decision.outcome for decision in decisions] == [
        "trained",
        "held",
        "trained",
        "rejected",
        "skipped",
    ]
    for decision in decisions:
        assert open_signer(config).is_valid(decision.document.encode(), decision.signature)
        manifests = open_run(config, decision.run_id).manifests()
        assert decision.evidence == {step: manifests[step].digest for step in decision.evidence}


@pytest.mark.parametrize("model", FACTS, ids=lambda model: model.step)
def test_facts_of_old_manifests_are_read_whole(config, model):
    found = 0
    for run_id in run_ids(config):
        manifests = open_run(config, run_id).manifests()
        if model.step in manifests:
            found += 1
            stored = as_json(facts_of(manifests, model))
            assert canonical_json(stored) == canonical_json(manifests[model.step].facts)
    assert found > 0


def test_every_step_of_the_old_home_is_read():
    assert {model.step for model in FACTS} == {*NIGHTLY}
    assert CLOSING == ("report", "record")


def test_old_readings_are_read(config):
    manifest = open_run(config, "2026-01-01").manifest("evaluate")
    assert parsed(manifest.readings, EvaluateReadings).latency_ms.ratio > 0


def test_decisions_facts_are_read(config):
    trained, held, *_ = (decision_facts(decision.facts) for decision in open_ledger(config).decisions())
    assert (trained.registered_version, held.registered_version) == ("1", None)
    assert trained.accuracy is not None


def test_rows_of_old_trainings_are_tried(config):
    """Version 1 was rolled back, version 2 is in the shadow, the third was rejected; then a night skipped."""
    ledger, delivered = open_ledger(config), open_lake(config).deliveries(date(2026, 12, 1))
    states = feedback_states(ledger, delivered, trainings(ledger, ""))
    assert states.tried == tuple(date(2026, 1, day) for day in (1, 2, 3, 4))
    assert (states.pending, states.learned) == ((date(2026, 11, 28),), ())


def test_the_traffic_split_is_as_it_was(config):
    moves = open_ledger(config).promotions()
    assert [move.move for move in moves] == [
        "shadow", "canary_25", "canary_50", "production", "rollback", "shadow", "abort", "shadow",
    ]  # fmt: skip
    assert moves[-1].route.shadow.version == "2"
    assert moves[-1].route.production is None


def test_alerts_and_rulings_are_read(config):
    inbox, since = open_inbox(config), datetime(2026, 1, 1, tzinfo=UTC)
    deliveries = inbox.deliveries(since)
    rulings = inbox.rulings(since, {delivery.id: delivery.alerts for delivery in deliveries})
    assert (len(deliveries), len(rulings), inbox.waiting()) == (7, 6, 1)
    assert {Action.RETRAIN, Action.ROLLBACK} <= {ruling.action for ruling in rulings}


def test_the_journal_is_read(config):
    reader = open_journal(config)
    span = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert reader.totals(*span).attempts > 50


def test_status_names_each_night(where, capsys):
    assert main(["status", "--json", *where]) == 0
    state = json.loads(capsys.readouterr().out)
    assert [night["outcome"] for night in state["nights"]][:2] == ["trained", "held"]
    assert state["rollout"]["version"] == "2"


def test_verify_misses_only_what_was_taken_out(where, capsys):
    assert main(["verify", *where]) == 2
    lines = capsys.readouterr().out.splitlines()
    broken = {line.removeprefix("BROKEN  ").removesuffix(": missing") for line in lines[:-1]}
    assert broken == set((OLD / "trimmed.txt").read_text().splitlines())


def test_backtest_replays_each_night(where, tmp_path, capsys):
    policy = tmp_path / "policy.toml"
    policy.write_text("[gate]\nmin_improvement = 0.5\n")
    assert main(["backtest", "--policy", str(policy), *where]) == 0
    said = capsys.readouterr().out
    assert "not replayed" not in said
    assert "2026-01-01" in said


@pytest.mark.parametrize(("name", "kind"), [("profile", "sample"), ("profile_gateway", "gateway")])
def test_an_old_profile_is_told_what_to_write(tmp_path, name, kind):
    with pytest.raises(ConfigError, match=f'kind = "{kind}"') as refused:
        load_config(OLD / f"{name}.toml", tmp_path)
    assert str(refused.value).count("ingest") == 1
