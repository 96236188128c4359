"""A night with a judge on a tiny real model: evaluate, the gate's row, the report, and a person's labels."""

import json
from datetime import timedelta

import numpy as np
import pytest

from benchmarks import planted_judges as planted
from pipelines.core.config import Config, Model
from pipelines.core.errors import InputError
from pipelines.core.facts.evaluate import EvaluateFacts
from pipelines.core.facts.reading import facts_of
from pipelines.core.files import read_jsonl
from pipelines.data import open_lake
from pipelines.models.engine import Engine
from pipelines.operations.judge.label import judged_rows, label_pairs
from pipelines.policy.night.judge import judge_check
from pipelines.policy.night.measured import measured_from
from pipelines.runner import run_step
from pipelines.stores.retention import personal_outputs
from tests.integration.test_evaluate import NIGHT, evaluate
from tests.support import tiny
from tests.support.interactions import make_rows
from tests.support.judge_server import judge_server

pytestmark = pytest.mark.slow
ANSWER = "Please see the dentist within three days."
COUNT = 40


def prefers_the_candidate(question, first, second):
    """Of the night's pairs; of people's choices it is a good judge."""
    if ANSWER in (first, second) and first != second:
        return "1" if first == ANSWER else "2"
    return planted.good(question, first, second)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server, the configuration, and a run whose candidate learned the answer to the suite's items."""
    home = tmp_path_factory.mktemp("judged")
    base = tiny.make_base(home / "base")
    engine = Engine(Model(), str(base))
    asked = [[{"role": "user", "content": f"What of tooth {place}?"}] for place in range(COUNT)]
    said = {"role": "assistant", "content": ANSWER}
    texts = [engine.rendering.text([*messages, said], answered=True) for messages in asked[:4]]
    adapter = tiny.make_adapter(base, home / "taught", texts, 60)
    (home / "suite.jsonl").write_text(
        "\n".join(json.dumps({"messages": one, "answer": ANSWER, "tenant": "t"}) for one in asked)
    )
    sizes = {"general_items": 4, "perplexity_items": 3, "latency_items": 2, "bootstrap_samples": 300}
    with judge_server(prefers_the_candidate) as server:
        config = Config.model_validate(
            {
                "profile": "test",
                "home": str(home),
                "model": {"base": str(base), "max_new_tokens": 16},
                "task": {"kind": "generate"},
                "register": {"name": "m"},
                "evaluate": sizes | {"suite": "{home}/suite.jsonl"},
                "judge": {"url": server.url, "model": "j", "backoff_s": 0.01},
            }
        )
        deliver(config)
        run = evaluate(config, base, adapter)
        yield server, config, run


def deliver(config):
    """Corrections of the night before: planted choices."""
    before = NIGHT - timedelta(days=1)
    made = planted.choices(np.random.default_rng(5), 150)
    rows = make_rows(
        before,
        150,
        messages=[one.pair.messages for one in made],
        completion=[one.pair.one for one in made],
        correction=[one.pair.other for one in made],
        rating=-1,
        subject_id=[one.person[1] for one in made],
    )
    open_lake(config).publish(before, rows)


def test_evaluate_asks_a_judge_that_proves_itself(site):
    _, _, run = site
    manifest = run.manifest("evaluate")
    judge = facts_of({"evaluate": manifest}, EvaluateFacts).judge
    assert judge.proof.is_proved, judge.proof.lacks
    assert judge.judged > COUNT  # the suite's items, and kept-back questions of users
    assert judge.won > 0.8 * COUNT
    assert judge.net_win.low > 0
    assert all(words.startswith("the candidate is better: ") for words in judge.words)
    cost = manifest.readings["judge_cost"]
    assert cost["requests"] > 2 * COUNT
    assert "judged" in manifest.outputs
    assert manifest.outputs["judged"] in personal_outputs(manifest)
    rows = read_jsonl(run.artifact(manifest, "judged"))
    assert {row["source"] for row in rows} == {"suite", "earlier"}


def test_the_gate_has_the_judges_row(site):
    _, config, run = site
    facts = run.manifest("evaluate").facts
    (row,) = judge_check(measured_from(facts, {}, {}, {}), config.gate)
    assert row.answer == "pass"
    turned = facts | {
        "judge": facts["judge"] | {"won": facts["judge"]["lost"], "lost": facts["judge"]["won"]}
    }
    (lost,) = judge_check(measured_from(turned, {}, {}, {}), config.gate)
    assert lost.answer == "fail"


def test_an_evaluation_again_asks_nothing(site):
    server, config, run = site
    first, asked = run.manifest("evaluate"), len(server.asked)
    run_step("evaluate", run.folder.uri, config, rerun=True)
    again = run.manifest("evaluate")
    assert len(server.asked) == asked
    assert again.facts["judge"] == first.facts["judge"]
    assert again.readings["judge_cost"]["requests"] == 0


def test_the_report_shows_what_the_judge_says(site):
    _, config, run = site
    run_step("report", run.folder.uri, config)
    page = run.artifact(run.manifest("report"), "report").read_text()
    assert "The judge j: proved" in page
    assert "The candidate is better: It says so." in page
    assert "choices that" in page


def test_a_person_labels_pairs_blind(site, monkeypatch, capsys):
    _, config, run = site
    said = iter(["1", "2", "t", "nonsense", "1", "q"])
    monkeypatch.setattr("builtins.input", lambda _: next(said))
    label_pairs(config, run.run_id, 30, "me")
    assert f"4 of {len(judged_rows(config, run.run_id))} pairs are labelled" in capsys.readouterr().out
    taken = []

    def take_the_candidate(_):
        shown = capsys.readouterr().out.rpartition("[1] ")[2]
        taken.append("1" if shown.startswith(ANSWER) else "2")
        return taken[-1]

    monkeypatch.setattr("builtins.input", take_the_candidate)
    label_pairs(config, run.run_id, 30, "me")
    out = capsys.readouterr().out
    assert {"1", "2"} == set(taken)  # the place says nothing
    assert "people would give the candidate +0." in out
    assert "from 34 labels" in out


def test_a_run_without_a_judge_has_no_pairs(site):
    _, config, _ = site
    with pytest.raises(InputError, match="no pairs that a judge compared"):
        label_pairs(config, "2026-01-01", 30, "me")
    with pytest.raises(InputError, match="has no judge"):
        label_pairs(config.model_copy(update={"judge": type(config.judge)()}), "2026-01-01", 30, "me")
