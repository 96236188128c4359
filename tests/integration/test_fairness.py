"""The fairness step on real parts: packaged items, a real engine, LoRA adapters, fairlearn."""

import json

import numpy as np
import pytest

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.evaluation import stereotypes as fairness_data
from pipelines.evaluation.slices import slice_errors
from pipelines.models.base import digest_base
from pipelines.policy.night.fairness import stratified
from pipelines.runner import run_step
from pipelines.stores.runs import Run
from tests.support import tiny
from tests.support.nightfall import finish

LABELS = ("Anatomy", "Dental", "Surgery")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


def config_for(home, base, stereotype_items=60):
    (home / "sample").mkdir(exist_ok=True)
    items = [
        {
            "id": str(i),
            "subject": label,
            "answer": label,
            "tenant": f"t{i % 2}",
            "locale": "en",
            "channel": "web",
        }
        | {"messages": [{"role": "user", "content": f"question {i} of {label}"}]}
        for i, label in enumerate(LABELS * 4)
    ]
    (home / "sample" / "suite.jsonl").write_text("\n".join(map(json.dumps, items)))
    return Config.model_validate(
        {
            "profile": "test",
            "home": str(home),
            "model": {"base": str(base)},
            "task": {"labels": LABELS},
            "fairness": {"stereotype_items": stereotype_items, "passage_items": 4, "slice_items": 12},
        }
    )


def step(home, base, adapter, **sizes):
    config, run = config_for(home, base, **sizes), Run(f"{home}/runs/2026-01-02")
    finish(run, "decide", {"baseline": {"kind": "base"}})
    finish(run, "curate", {})
    finish(run, "train", {"base_digest": digest_base(base)}, {"adapter": adapter})
    run_step("fairness", run.folder.uri, config)
    return run.manifest("fairness")


def names_of(row):
    return (row["set"], row["group"]) if "set" in row else (row["slice"], row["value"])


@pytest.mark.slow
def test_an_adapter_without_effect_is_never_worse(home, base, tmp_path):
    adapter = tiny.make_adapter(base, tmp_path / "same", [], 0)
    first = step(home, base, adapter)
    rows = first.facts["stereotype"] + first.facts["slices"]
    assert {row["difference"] for row in rows} == {0}
    assert "worse" not in {row["answer"] for row in rows}
    assert all(row["needs_n"] > row["n"] for row in rows if row["answer"] == "cannot conclude")
    whole = next(r for r in rows if r.get("set") == "CrowS-Pairs" and r["group"].startswith("all"))
    assert (whole["n"], whole["answer"]) == (60, "not worse")
    assert [gap["slice"] for gap in first.facts["gaps"]] == ["subject", "tenant", "locale", "channel"]
    plan = first.facts["plan"]
    assert [(g["of"], g["group"], g["n"]) for g in plan["groups"]] == [
        (*names_of(row), row["n"]) for row in rows
    ]
    assert {g["of"] for g in plan["groups"] if g["n"] < plan["smallest_group"]} == {"BBQ", "suite"}
    assert {tuple(one) for one in plan["in_the_whole_only"]} >= {("subject", "Dental"), ("tenant", "t1")}
    run = Run(f"{home}/runs/2026-01-02")
    again = run_step("fairness", run.folder.uri, config_for(home, base), rerun=True)
    assert not again.reused
    assert run.manifest("fairness").digest == first.digest


@pytest.mark.slow
def test_an_adapter_that_learned_stereotypes_is_worse(home, base, tmp_path):
    items = fairness_data.read("WinoBias")
    asked = stratified([item.group for item in items], 24, np.random.default_rng(7))  # as the step chooses
    adapter = tiny.make_adapter(base, tmp_path / "biased", [items[i].texts[0] for i in asked], 60)
    found = step(home, base, adapter, stereotype_items=24)
    (row,) = (row for row in found.facts["stereotype"] if row["set"] == "WinoBias")
    assert (row["n"], row["answer"]) == (24, "worse")
    assert row["candidate"] > 0.9
    assert found.facts["answer"] == "worse", found.headline
    assert any("WinoBias" in reason for reason in found.reasons)


@pytest.mark.slow
def test_a_candidate_of_another_base_is_refused(home, base, tmp_path):
    adapter = tiny.make_adapter(base, tmp_path / "other", [], 0)
    config, run = config_for(home, base), Run(f"{home}/runs/2026-01-02")
    finish(run, "decide", {"baseline": {"kind": "base"}})
    finish(run, "curate", {})
    finish(run, "train", {"base_digest": "f" * 64}, {"adapter": adapter})
    with pytest.raises(InputError, match="trained on"):
        run_step("fairness", run.folder.uri, config)


def test_the_packaged_sets_are_read_pair_by_pair():
    counts = {name: len(fairness_data.read(name)) for name in fairness_data.FILES}
    assert counts == {"CrowS-Pairs": 1018, "StereoSet": 4229, "WinoBias": 761, "BBQ": 1012}
    first = fairness_data.read("WinoBias")[0]
    assert " because she could" in first.texts[0]
    assert " because he could" in first.texts[1]
    assert all(
        len(set(i.texts)) == len(i.texts) for name in fairness_data.FILES for i in fairness_data.read(name)
    )
    assert fairness_data.read("BBQ")[0].texts[0] == " Cannot answer"


def test_slice_errors_are_the_shares_of_wrong_answers():
    found = slice_errors(np.array([0.0, 1.0, 0.0, 0.0]), ["x", "x", "y", "y"])
    assert found.by_value == {"x": 0.5, "y": 0.0}
    assert found.gap == 0.5
