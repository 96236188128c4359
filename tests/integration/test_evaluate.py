"""Evaluation on a tiny real model: what is stated is what the models answered, pair by pair."""

import json
from datetime import date, timedelta

import pyarrow.parquet as pq
import pytest

from pipelines.core.config import Config, Model
from pipelines.core.errors import InputError
from pipelines.core.facts.common import Baseline
from pipelines.core.facts.reading import parsed
from pipelines.core.facts.train import TrainFacts
from pipelines.data.lake import Lake
from pipelines.evaluation.instructions import INSTRUCTIONS, follows
from pipelines.evaluation.kept_answers import KeptAnswers
from pipelines.evaluation.pool import join
from pipelines.models import open_registry, open_tracker
from pipelines.models.base import digest_base
from pipelines.models.engine import Engine
from pipelines.models.pair import ModelPair
from pipelines.policy.night.feedback import is_holdout, is_kept_back
from pipelines.runner import run_step
from pipelines.stores.ledger import Ledger
from pipelines.stores.runs import Run
from tests.support import tiny
from tests.support.facts import facts_like
from tests.support.interactions import make_rows
from tests.support.nightfall import finish

POOL = ("braces", "the wrist", "insulin", "a cough", "migraine", "stitches", "vaccines")
LABELS = ("Anatomy", "Dental", "Surgery")
NIGHT = date(2026, 1, 3)
NOTHING_BEFORE = {"new": None, "changed": None, "kin": []}
SUITE = [
    {
        "id": f"s{i}", "subject": label, "answer": label, "tenant": "t", "locale": "en", "channel": "web",
        "messages": [{"role": "user", "content": f"What does number {i} say of {label.lower()}?"}],
    }
    for i, label in enumerate((*LABELS, *["Dental"] * 9))
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def taught(base, tmp_path_factory):
    """An adapter that learned to say Dental, whatever the question."""
    engine = Engine(Model(), str(base))
    dental = {"role": "assistant", "content": "Dental"}
    texts = [engine.rendering.text([*row["messages"], dental], answered=True) for row in SUITE[:4]]
    return tiny.make_adapter(base, tmp_path_factory.mktemp("adapters") / "taught", texts, 40)


@pytest.fixture(scope="module")
def idle(base, tmp_path_factory):
    """An adapter without effect."""
    return tiny.make_adapter(base, tmp_path_factory.mktemp("adapters") / "idle", [], 0)


def config_for(home, base, **evaluate):
    (home / "sample").mkdir(exist_ok=True)
    (home / "sample" / "suite.jsonl").write_text("\n".join(map(json.dumps, SUITE)))
    sizes = {"general_items": 4, "perplexity_items": 3, "latency_items": 2, "bootstrap_samples": 300}
    sizes |= {"instruction_items": 6, "instruction_tokens": 16}
    return Config.model_validate(
        {
            "profile": "test",
            "home": str(home),
            "model": {"base": str(base)},
            "task": {"labels": LABELS},
            "curate": {"holdout_share": 0.3, "people_kept_back": 0.1},
            "gate": {"max_nights_waiting": 30, "max_instruction_loss": 1.0},
            "evaluate": sizes | evaluate,
        }
    )


def evaluate(config, base, adapter, curated=None, **how):
    run = Run(f"{config.home}/runs/{NIGHT}")
    if not run.manifest("train"):
        finish(run, "decide", {"baseline": {"kind": "base"}})
        finish(run, "curate", curated or {})
        finish(run, "train", {"base_digest": digest_base(base)}, {"adapter": adapter})
    run_step("evaluate", run.folder.uri, config, **how)
    return run


def test_a_candidate_without_effect_shows_no_difference(home, base, idle):
    manifest = evaluate(config_for(home, base), base, idle).manifest("evaluate")
    facts = manifest.facts
    assert facts["accuracy"]["production"] == facts["accuracy"]["candidate"]
    assert facts["paired"]["only_production"] == facts["paired"]["only_candidate"] == 0
    assert facts["difference"] == {"value": 0, "low": 0, "high": 0}
    assert facts["perplexity"]["ratio"] == pytest.approx(1, abs=1e-4)
    assert abs(facts["general"]["difference"]["value"]) < 1e-5
    assert facts["baseline"] == "base"
    assert manifest.readings["latency_ms"]["ratio"] > 0


def test_a_candidate_that_learned_is_better(home, base, taught):
    run = evaluate(config_for(home, base), base, taught)
    facts = run.manifest("evaluate").facts
    items = pq.read_table(run.folder.path("evaluate/items.parquet")).to_pylist()
    right = {name: [row[name] == row["answer"] for row in items] for name in ("production", "candidate")}
    assert facts["accuracy"]["candidate"]["value"] == pytest.approx(10 / 12, abs=1e-5)
    for name, values in right.items():
        assert facts["accuracy"][name]["value"] == pytest.approx(sum(values) / 12, abs=1e-5)
        by_subject = facts["by_subject"].values()
        assert sum(part["n"] * part[name] for part in by_subject) == pytest.approx(sum(values), abs=1e-4)
    pairs = list(zip(*right.values(), strict=True))
    assert facts["paired"] == {
        "n": 12,
        "both": pairs.count((True, True)),
        "only_production": pairs.count((True, False)),
        "only_candidate": pairs.count((False, True)),
        "neither": pairs.count((False, False)),
    }
    assert facts["difference"]["low"] > 0
    assert facts["perplexity"]["ratio"] > 1.01  # it learned by heart, so other text became less likely


def test_equal_work_gives_an_equal_manifest(home, base, idle):
    config = config_for(home, base)
    first = evaluate(config, base, idle).manifest("evaluate")
    again = evaluate(config, base, idle, rerun=True).manifest("evaluate")
    assert again.digest == first.digest


def test_a_night_says_what_is_new_in_its_suite(home, base, idle):
    config = config_for(home, base)
    first = evaluate(config, base, idle).manifest("evaluate").facts
    assert first["suite"] == {"items": 12, "unreviewed": 0, "since": None, "before": None} | NOTHING_BEFORE
    asked = {"run_id": "2026-01-02", "night": "2026-01-02", "outcome": "rejected", "reasons": []}
    facts = {"facts": {"suite_digest": first["suite_digest"]}, "evidence": {}, "ledger_head": ""}
    Ledger(f"sqlite:///{home}/ledger.db").add_decision(asked | facts, "unsigned")
    new = {**SUITE[0], "messages": [{"role": "user", "content": "What is new?"}], "reviewed": False}
    lines = "\n".join(map(json.dumps, [*SUITE[1:], new]))
    (home / "sample" / "suite.jsonl").write_text(lines)
    again = evaluate(config, base, idle, rerun=True).manifest("evaluate")
    assert (again.facts["suite"]["new"], again.facts["suite"]["since"]) == (1, "2026-01-02")
    assert again.facts["suite"]["kin"] == [first["suite_digest"]]
    assert again.reasons == (
        "1 of 12 items is new since the suite of 2026-01-02.",
        "No person has reviewed 1 of the 12 items of the suite.",
    )


def test_fresh_rows_and_copies_in_the_suite(home, base, taught):
    """Both models answer tonight's rows of people kept back; an item that repeats another does not count."""
    config = config_for(home, base)
    rows = make_rows(NIGHT, 300, rating=1, completion="Dental", correction=None)
    Lake(config.path(config.lake_root), 512).publish(NIGHT, rows)
    curated = {"people_kept_back": 0.5, "suite_copies": ["s3", "s4"]}
    facts = evaluate(config, base, taught, curated).manifest("evaluate").facts
    people = {(row["tenant"], row["subject_id"]) for row in rows.to_pylist()}
    theirs = sum(is_kept_back(*person, 0.5) for person in people)
    assert 0 < theirs < len(people)
    fresh = facts["fresh"]
    assert fresh["won"] + fresh["lost"] + fresh["neither"] == theirs
    assert fresh["lost"] == 0  # the taught one says Dental to all
    assert facts["paired"]["n"] == 10
    assert sum(part["n"] for part in facts["by_subject"].values()) == 12


def test_a_night_asks_items_of_the_pool(home, base, taught):
    """Those after the last that another run asked; a rerun asks the same."""
    config = config_for(home, base, pool="{home}/pool.jsonl", pool_items=5)
    items = [{"messages": [{"role": "user", "content": f"{name}?"}], "answer": "Dental"} for name in POOL]
    (home / "pool.jsonl").write_text("\n".join(map(json.dumps, items)))
    join(config)
    manifest = evaluate(config, base, taught).manifest("evaluate")
    found = manifest.facts["pool"]
    assert found["won"] + found["lost"] + found["neither"] == 5
    assert found["lost"] == 0  # the taught one says Dental to all
    assert (found["left"], found["position"] > "20") == (2, True)
    assert "has 2 items left" in manifest.reasons[0]
    assert evaluate(config, base, taught, rerun=True).manifest("evaluate").facts["pool"] == found


def test_forgetting_asks_kept_back_rows_of_earlier_nights(home, base, taught):
    config = config_for(home, base, max_earlier_items=9)
    lake = Lake(config.path(config.lake_root), 256)
    for back in (0, 1, 2):
        night = NIGHT - timedelta(days=back)
        lake.publish(night, make_rows(night, 80, rating=1, completion="Dental", correction=None))
    facts = evaluate(config, base, taught).manifest("evaluate").facts["forgetting"]
    assert facts["n"] == 9
    assert sum(facts["paired"][key] for key in ("both", "only_production", "only_candidate", "neither")) == 9
    assert facts["production"] == pytest.approx(
        (facts["paired"]["both"] + facts["paired"]["only_production"]) / 9, abs=1e-5
    )

    every = config_for(home, base, max_earlier_items=1000)
    kept_back = sum(
        is_holdout(row["messages"], 0.3, config.task.system_prompt)
        for row in lake.interactions(NIGHT - timedelta(days=2), NIGHT - timedelta(days=1), NIGHT).to_pylist()
    )
    night = NIGHT - timedelta(days=3)
    lake.publish(night, make_rows(night, 80, rating=-1, completion="Dental", correction=None))
    found = evaluate(every, base, taught, rerun=True).manifest("evaluate").facts["forgetting"]
    assert found["n"] == kept_back > 20
    disliked = lake.interactions(night, night, NIGHT).to_pylist()
    held = sum(is_holdout(row["messages"], 0.3, config.task.system_prompt) for row in disliked)
    assert sum(found["disliked"].values()) == held > 10
    assert found["disliked"]["not_won"] > 0  # the candidate says what was disliked, whatever it is asked
    assert set(found["disliked"]) <= {"same", "not_won"}


def test_without_earlier_nights_there_is_nothing_to_forget(home, base, idle):
    config = config_for(home, base)
    Lake(config.path(config.lake_root), 256).publish(NIGHT, make_rows(NIGHT, 30))
    assert evaluate(config, base, idle).manifest("evaluate").facts["forgetting"] is None


def test_an_anchor_is_measured_on_the_same_items(home, base, idle, taught, monkeypatch):
    """Production is the base here, so the base as an anchor says the same, and so does an idle version."""
    config = config_for(home, base)
    lake = Lake(config.path(config.lake_root), 256)
    for back in (1, 2):
        night = NIGHT - timedelta(days=back)
        lake.publish(night, make_rows(night, 80, rating=1, completion="Dental", correction=None))
    registry, tracker = open_registry(config), open_tracker(config)
    tags = {"base_digest": digest_base(base)}
    made = registry.register(idle, tracker, tracker.run("r", "1" * 64), "r", (), tags)
    anchors = [{"kind": "base"}, {"kind": "adapter", "version": made.version, "digest": made.digest}]
    run = Run(f"{config.home}/runs/{NIGHT}")
    finish(run, "decide", {"baseline": {"kind": "base"}, "anchors": anchors})
    finish(run, "curate", {})
    finish(run, "train", {"base_digest": digest_base(base)}, {"adapter": taught})
    facts = evaluate(config, base, taught).manifest("evaluate").facts
    assert [one["name"] for one in facts["anchors"]] == ["the base", "version 1"]
    for anchor in facts["anchors"]:
        assert anchor["forgetting"] == facts["forgetting"]
        assert anchor["perplexity"]["candidate"] == facts["perplexity"]["candidate"]
        assert anchor["perplexity"]["ratio"] == pytest.approx(facts["perplexity"]["ratio"], abs=1e-3)
        for name in ("production", "candidate"):
            assert anchor["general"][name] == pytest.approx(facts["general"][name], abs=1e-4)
        assert anchor["instructions"] == facts["instructions"]

    monkeypatch.setattr(ModelPair, "as_anchor", lambda *_: pytest.fail("its answers are kept"))
    again = evaluate(config, base, taught, rerun=True).manifest("evaluate").facts
    assert again["anchors"] == facts["anchors"]


def test_kept_answers_are_of_one_model_and_its_items(home, base, monkeypatch):
    config = config_for(home, base)
    engine = Engine(config.model, str(base))

    def answers(adapter, asked, values, step="evaluate"):
        return KeptAnswers(config, engine, adapter, step).of("right", asked, lambda: values)

    assert answers("", ["a", "b"], [1, 0]) == [1, 0]
    assert answers("", ["a", "b"], [0, 0]) == [1, 0], "kept"
    assert answers("", ["a", "c"], [0, 0]) == [0, 0], "other items"
    assert answers("", ["a", "b"], [0, 1], "safety") == [0, 1], "other code"
    assert answers("adapter", ["a", "b"], []) == []
    asked = [[{"role": "user", "content": "Where is the femur?"}]], ["Anatomy", "Surgery"]
    label = KeptAnswers(config, engine, "", "evaluate").choices(*asked)
    monkeypatch.setattr(engine, "choose", lambda *_: pytest.fail("fairness asks the same suite"))
    assert KeptAnswers(config, engine, "", "fairness").choices(*asked) == label


def test_an_anchor_of_another_base_is_refused(home, base, idle):
    config = config_for(home, base)
    tracker = open_tracker(config)
    open_registry(config).register(
        idle, tracker, tracker.run("r", "1" * 64), "r", (), {"base_digest": "0" * 64}
    )
    trained = parsed(facts_like("train", base_digest=digest_base(base)), TrainFacts)
    pair = ModelPair(config, Baseline(kind="base"), idle, trained)
    with pytest.raises(InputError, match="version 1, was trained on another base model"):
        pair.as_anchor(Baseline(kind="adapter", version="1", digest="d"))


def test_a_missing_suite_is_named(home, base, idle):
    config = config_for(home, base)
    (home / "sample" / "suite.jsonl").unlink()
    with pytest.raises(InputError, match="no evaluation suite at"):
        evaluate(config, base, idle)


def test_instructions_are_asked_of_every_model(home, base, idle, taught):
    run = evaluate(config_for(home, base, instruction_items=12), base, taught)
    facts = run.manifest("evaluate").facts["instructions"]
    rows = [json.loads(line) for line in run.folder.read_bytes("evaluate/instructions.jsonl").splitlines()]
    assert [row["instruction"] for row in rows] == [one.prompt for one in INSTRUCTIONS[:12]]
    for row, one in zip(rows, INSTRUCTIONS[:12], strict=True):
        for name in ("production", "candidate"):
            assert row[f"{name}_follows"] == follows(one, row[name])
    assert facts["n"] == facts["paired"]["n"] == 12
    assert facts["candidate"] == pytest.approx(sum(row["candidate_follows"] for row in rows) / 12)


def test_no_instructions_are_asked_where_none_are_wanted(home, base, idle):
    run = evaluate(config_for(home, base, instruction_items=0), base, idle)
    assert run.manifest("evaluate").facts["instructions"] is None
    assert run.folder.read_bytes("evaluate/instructions.jsonl") == b""
