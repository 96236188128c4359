"""The registry on a real MLflow database: nothing twice, nothing lost, the same logits elsewhere."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from pipelines.core.config import Model
from pipelines.core.contract import Verdict
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.traffic_split import Adapter, Route
from pipelines.models import open_registry, open_tracker
from pipelines.models.aliases import in_production
from pipelines.models.base import base_digest
from pipelines.models.engine import Engine
from pipelines.models.registry import CANDIDATE, PRODUCTION, adapter_digest
from pipelines.policy.probes import Served, compare
from pipelines.stores import open_ledger
from tests.support import tiny
from tests.support.configs import make_config
from tests.support.mlflow_runs import curve
from tests.support.nightfall import finish
from tests.support.registered import night, register, trained

ASKED = [[{"role": "user", "content": "Where is the femur?"}], [{"role": "user", "content": "Why?"}]]
ELSEWHERE = """
import sys, numpy as np
from pipelines.models.engine import Engine
from pipelines.core.config import Model
engine = Engine(Model(threads=1), sys.argv[1])
engine.load("fetched", sys.argv[2])
asked = [[{"role": "user", "content": text}] for text in ("Where is the femur?", "Why?")]
np.save(sys.argv[3], engine.next_logits(asked))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Two trained adapters: only the two files that `train` keeps."""
    folder = tmp_path_factory.mktemp("adapters")
    made = []
    for number in (1, 2):
        path = tiny.make_adapter(base, folder / str(number), [f"number {number} has learned this"], number)
        (path / "README.md").unlink(missing_ok=True)
        made.append(path)
    return made


@pytest.fixture
def config(home, base):
    suite = home / "suite.jsonl"
    items = [{"messages": asked, "answer": "Surgery"} for asked in ASKED]
    suite.write_text("".join(json.dumps(item) + "\n" for item in items))
    return make_config(
        home, "register", **{"probes": 2, "model.base": str(base), "evaluate.suite": str(suite)}
    )


def registry_of(config):
    return open_registry(config)


def test_an_empty_registry_has_nothing_in_production(config):
    registry = registry_of(config)
    registry.prepare()
    registry.prepare()
    assert in_production(config) is None
    assert registry.versions() == []


def test_a_registered_adapter_has_evidence_and_is_candidate(config, adapters):
    run = night(config, adapters[0], "2026-01-02")
    manifest = register(config, run)
    found = registry_of(config).by_alias(CANDIDATE)
    assert found.version == manifest.facts["version"] == "1"
    assert found.digest == adapter_digest(adapters[0])
    assert found.nights == ("2026-01-01", "2026-01-02")
    assert found.run_id == "2026-01-02"
    assert found.measured_against == ""
    assert found.tags["base_digest"] == base_digest(config)
    assert found.tags["tokenizer_digest"] == "t" * 64
    assert found.tags["evidence_evaluate"] == run.manifest("evaluate").digest
    assert found.tags["data_digest"] == run.manifest("curate").outputs["train"].sha256
    assert sorted(path.name for path in registry_of(config).fetch("1").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_a_version_keeps_what_tells_it_from_its_base(config, adapters):
    manifest = register(config, night(config, adapters[1], "2026-01-02"))
    registry = registry_of(config)
    kept = registry.probes("1")
    assert [list(probe.messages) for probe in kept.probes] in (ASKED, ASKED[::-1])
    assert all(len(step.top) > 15 for probe in kept.probes for step in probe.adapter.steps)
    facts = manifest.facts["probes"]
    assert (facts["count"], facts["candidates"], facts["clear"]) == (2, 2, 2)
    assert 0.03 <= facts["nearest"] <= facts["farthest"]
    assert compare(kept.probes, [probe.adapter for probe in kept.probes], 0.25).served is Served.ADAPTER
    assert compare(kept.probes, [probe.base for probe in kept.probes], 0.25).served is Served.BASE


def test_an_adapter_that_changes_nothing_is_held(config, base, tmp_path):
    idle = tiny.make_adapter(base, tmp_path / "idle", [], 0)
    manifest = register(config, night(config, idle, "2026-01-02"))
    assert manifest.verdict is Verdict.HOLD
    assert "Base and adapter clearly differ on 0 of 2 items of the suite, and 2 are" in manifest.reasons[0]
    assert "the largest difference is 0.000" in manifest.reasons[0]
    registry_of(config).prepare()
    assert registry_of(config).versions() == []


def test_another_base_than_the_trained_one_is_a_fault(config, adapters):
    run = night(config, adapters[0], "2026-01-02")
    finish(run, "train", trained(config, adapters[0], base_digest="b" * 64), {"adapter": adapters[0]})
    with pytest.raises(InputError, match="trained on another base model"):
        register(config, run)


def test_changed_probes_are_found(config, adapters):
    register(config, night(config, adapters[0], "2026-01-02"))
    registry = registry_of(config)
    stored = registry.fetch("1").parent / "probes" / f"{registry.version('1').tags['probes_digest']}.json"
    stored.write_bytes(stored.read_bytes().replace(b'"tokens": 4', b'"tokens": 5'))
    with pytest.raises(IntegrityError, match="The stored probes of department-router, version 1, were"):
        registry.probes("1")


def test_an_older_version_has_no_probes(config, adapters):
    registry, tracker = registry_of(config), open_tracker(config)
    registry.register(adapters[0], tracker, tracker.run("2025-01-01", "f" * 64), "2025-01-01", (), {})
    assert registry.probes("1") is None


def test_each_version_says_what_it_was_made_of(config, adapters):
    first = night(config, adapters[0], "2026-01-02")
    register(config, first)
    second = night(config, adapters[1], "2026-01-20")
    made = adapter_digest(adapters[0])
    finish(second, "decide", {"baseline": {"kind": "adapter", "version": "1", "digest": made}})
    replayed = ["2026-01-10", "2026-01-11", "2026-01-12"]
    outputs = {"train": adapters[1].parent / "train.jsonl"}
    finish(second, "curate", {"nights": ["2026-01-20"], "replay_nights": replayed}, outputs)
    finish(second, "train", trained(config, adapters[1], method="continue"), {"adapter": adapters[1]})
    register(config, second)
    registry = registry_of(config)
    tags = registry.version("2").tags
    assert (tags["parent_version"], tags["parent_digest"]) == ("1", made)
    assert json.loads(tags["replay_nights"]) == ["2026-01-10..2026-01-12"]
    seen = ("2026-01-01..2026-01-02", "2026-01-10..2026-01-12", "2026-01-20")
    assert registry.version("2").nights_seen == seen
    assert json.loads(tags["datasets"]) == {"train": second.manifest("curate").outputs["train"].sha256}
    assert [adapter.version for adapter in registry.ancestors("2")] == ["1"]
    assert registry.version("1").tags["parent_version"] == ""


def test_registering_again_makes_no_second_version(config, adapters):
    run = night(config, adapters[0], "2026-01-02")
    first = register(config, run)
    again = register(config, run, rerun=True)
    assert again.digest == first.digest
    assert [version.version for version in registry_of(config).versions()] == ["1"]


def test_a_kill_before_the_alias_moved_is_mended_by_the_rerun(config, adapters):
    register(config, night(config, adapters[0], "2026-01-01"))
    run = night(config, adapters[1], "2026-01-02")
    second = register(config, run)
    registry_of(config).point(CANDIDATE, "1")  # as if the kill came right before
    shutil.rmtree(f"{run.folder.uri}/register")
    again = register(config, run)
    assert again.digest == second.digest
    assert registry_of(config).by_alias(CANDIDATE).version == "2"
    assert [version.version for version in registry_of(config).versions()] == ["1", "2"]


def test_the_candidate_before_is_on_record(config, adapters):
    assert register(config, night(config, adapters[0], "2026-01-01")).facts["previous_candidate"] is None
    assert register(config, night(config, adapters[1], "2026-01-02")).facts["previous_candidate"] == "1"


def test_the_ledger_says_what_production_is_not_an_alias(config, adapters):
    register(config, night(config, adapters[0], "2026-01-01"))
    register(config, night(config, adapters[1], "2026-01-02"))
    registry_of(config).point(PRODUCTION, "2")
    first = registry_of(config).version("1")
    ledger = open_ledger(config)
    ledger.add_promotion(ledger.promotion(), "test", Route(Adapter("1", first.digest)), "a test", "pytest")
    assert in_production(config) == first
    assert registry_of(config).by_alias(CANDIDATE).version == "2"


def test_a_dry_run_registers_nothing_and_says_so(config, adapters):
    dry = config.model_copy(update={"register_": config.register_.model_copy(update={"dry_run": True})})
    manifest = register(dry, night(config, adapters[0], "2026-01-02"))
    assert manifest.verdict is Verdict.SKIP
    assert "dry run" in manifest.reasons[0]
    registry_of(config).prepare()
    assert registry_of(config).versions() == []


def test_changed_files_are_not_served(config, adapters):
    register(config, night(config, adapters[0], "2026-01-02"))
    weights = registry_of(config).fetch("1") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="Register that night again"):
        registry_of(config).fetch("1")


@pytest.mark.slow
def test_a_fetched_adapter_gives_equal_logits_elsewhere(config, base, adapters, tmp_path):
    register(config, night(config, adapters[1], "2026-01-02"))
    engine = Engine(Model(threads=1), str(base))
    bare = engine.next_logits(ASKED)
    engine.load("trained", adapters[1])
    here = engine.next_logits(ASKED)
    elsewhere = shutil.copytree(registry_of(config).fetch("1"), tmp_path / "elsewhere")
    arguments = [str(base), str(elsewhere), str(tmp_path / "logits.npy")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *arguments], check=True)
    assert np.array_equal(np.load(tmp_path / "logits.npy"), here)
    assert not np.array_equal(here, bare)


def test_a_step_logged_twice_is_stored_once(config):
    tracker = open_tracker(config)
    mlflow_id = tracker.run("2026-01-02", "f" * 64)
    for _ in range(2):
        assert tracker.run("2026-01-02", "f" * 64) == mlflow_id
        tracker.params(mlflow_id, {"epochs": 2})
        for step in range(3):
            tracker.metrics(mlflow_id, step, {"loss": 1 / (step + 1)})
        tracker.finish(mlflow_id, {"adapter_digest": "d"})
    assert tracker.run("2026-01-02", "e" * 64) != mlflow_id
    assert curve(config, mlflow_id, "loss") == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
