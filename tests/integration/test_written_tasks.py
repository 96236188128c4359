"""Evaluation of written answers on a tiny real model: JSON by a schema, and free text."""

import json

import pyarrow.parquet as pq
import pytest

from pipelines.core.config import Config, Model
from pipelines.models.engine import Engine
from pipelines.runner import run_step
from pipelines.stores.runs import Run
from tests.integration.test_evaluate import NIGHT, evaluate
from tests.support import tiny

SCHEMA = {
    "type": "object",
    "properties": {"ward": {"enum": ["Dental", "Surgery"]}, "days": {"type": "integer", "maximum": 9}},
    "required": ["ward", "days"],
    "additionalProperties": False,
}
TASKS = {
    "extract": ({"kind": "extract", "json_schema": SCHEMA}, '{"ward": "Dental", "days": 3}', "field_f1"),
    "generate": ({"kind": "generate"}, "Please see the dentist within three days.", "chrf"),
}
QUESTIONS = [f"What does number {place} say of the tooth?" for place in range(12)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module", params=TASKS)
def evaluated(request, base, tmp_path_factory):
    """The kind, and a run whose candidate learned to give one answer to all of the suite."""
    task, answer, _ = TASKS[request.param]
    home, engine = tmp_path_factory.mktemp(request.param), Engine(Model(), str(base))
    asked = [[{"role": "user", "content": question}] for question in QUESTIONS]
    said = {"role": "assistant", "content": answer}
    texts = [engine.rendering.text([*messages, said], answered=True) for messages in asked[:4]]
    adapter = tiny.make_adapter(base, home / "taught", texts, 60)
    items = [{"messages": messages, "answer": answer, "tenant": "t"} for messages in asked]
    (home / "suite.jsonl").write_text("\n".join(map(json.dumps, items)))
    sizes = {"general_items": 4, "perplexity_items": 3, "latency_items": 2, "bootstrap_samples": 300}
    sizes |= {"instruction_items": 6, "instruction_tokens": 16}
    config = Config.model_validate(
        {
            "profile": "test",
            "home": str(home),
            "model": {"base": str(base), "max_new_tokens": 32},
            "task": task,
            "register": {"name": "m"},
            "evaluate": sizes | {"suite": "{home}/suite.jsonl"},
            "fairness": {"stereotype_items": 8, "passage_items": 4},
            "gate": {"max_instruction_loss": 1.0},
        }
    )
    return request.param, config, evaluate(config, base, adapter)


def test_a_candidate_that_learned_scores_higher(evaluated):
    kind, _, run = evaluated
    facts, (_, answer, measure) = run.manifest("evaluate").facts, TASKS[kind]
    items = pq.read_table(run.folder.path("evaluate/items.parquet")).to_pylist()
    assert facts["measure"] == measure
    assert {row["candidate"] for row in items} == {answer}
    assert facts["accuracy"]["candidate"]["value"] == 1
    assert facts["accuracy"]["production"]["value"] < 0.6
    changes = dict(facts["paired"]["changes"])
    assert sum(changes.values()) == facts["paired"]["n"] == facts["paired"]["only_candidate"] == 12
    for row in items:
        assert round(1000 * (row["candidate_score"] - row["production_score"])) in changes
    assert all(one["candidate"] == 1 for one in facts["scores"].values())


def test_json_follows_the_schema_from_both_models(evaluated):
    kind, _, run = evaluated
    if kind == "extract":
        items = pq.read_table(run.folder.path("evaluate/items.parquet")).to_pylist()
        assert {json.loads(row["production"])["ward"] for row in items} <= {"Dental", "Surgery"}


def test_fairness_takes_the_scores_of_written_answers(evaluated):
    _, config, run = evaluated
    run_step("fairness", run.folder.uri, config)
    (gap,) = (one for one in run.manifest("fairness").facts["gaps"] if one["slice"] == "tenant")
    production = run.manifest("evaluate").facts["accuracy"]["production"]["value"]
    assert gap["production_errors"] == {"t": pytest.approx(1 - production, abs=1e-5)}
    assert gap["candidate_errors"] == {"t": 0}


def test_an_evaluation_again_is_the_same(evaluated):
    _, config, run = evaluated
    first = run.manifest("evaluate").facts
    run_step("evaluate", f"{config.home}/runs/{NIGHT}", config, rerun=True)
    assert Run(run.folder.uri).manifest("evaluate").facts == first
