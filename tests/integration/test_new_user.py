"""A new user's first session, from a log in OpenAI's form and a CSV of thumbs to a decided night."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.new_user import DAY, session
from pipelines.core.config import load_config
from pipelines.core.contract import Verdict
from pipelines.core.files import read_jsonl
from pipelines.stores import open_ledger, open_run
from tests.support import tiny
from tests.support.kept import share_heads

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SIZES = ("curate", "train", "evaluate", "fairness", "safety", "gate")
ROWS = 2_000


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The session's folder and everything that the user saw. The model and the sizes are tiny."""
    folder = tmp_path_factory.mktemp("new-user")
    base = tiny.make_base(folder / "base")
    small = (Path(tiny.__file__).with_name("tiny.toml")).read_text("utf-8")
    parts = re.findall(r"^\[\w+\]\n.*?(?=^\[|\Z)", small, re.MULTILINE | re.DOTALL)
    sizes = "\n".join(part for part in parts if part[1:].partition("]")[0] in SIZES)
    sizes += "\n[register]\nprobe_distance = 0.03\n"
    share_heads(folder / "home")
    with (folder / "said.txt").open("w") as said:
        status = session(folder, str(base), ROWS, sizes, said)
    text = (folder / "said.txt").read_text("utf-8")
    assert status == 0, text
    return folder, text


def test_inspect_finds_the_form_and_the_thumbs(ended):
    _, said = ended
    assert 'format = "openai"' in said
    assert "Rows 2,000 of 2,000 would be kept" in said
    assert "requests that it names are in the log" in said
    assert "Answers look like 4 labels" in said


def test_doctor_finds_nothing_that_fails(ended):
    _, said = ended
    assert said.count("evaluation suite  All 200 items can be asked") == 2, "by itself, and before the night"
    assert not re.search(r"^fail ", said, re.MULTILINE)


def test_the_night_is_decided_with_reasons(ended):
    folder, said = ended
    config = load_config(folder / "mine.toml", folder / "home")
    (decision,) = open_ledger(config).decisions()
    assert (decision.night, decision.outcome) == (DAY, "trained")
    assert decision.reasons
    assert f"{ROWS} rows kept of {ROWS}" in said
    assert "on 200 frozen items" in said
    manifests = open_run(config, decision.run_id).manifests()
    assert {manifest.verdict for manifest in manifests.values()} == {Verdict.PROCEED}


def test_no_item_of_the_suite_is_trained_on(ended):
    folder, _ = ended
    config = load_config(folder / "mine.toml", folder / "home")
    (decision,) = open_ledger(config).decisions()
    run = open_run(config, decision.run_id)
    curated = run.manifest("curate")
    trained = {json.dumps(row["prompt"][-1]) for row in read_jsonl(run.artifact(curated, "train"))}
    items = {json.dumps(item["messages"][-1]) for item in read_jsonl(folder / "home" / "suite.jsonl")}
    assert len(items) == 200
    assert trained.isdisjoint(items)
    assert curated.facts["counts"]["new"]["held_back"] >= 20


def test_the_report_names_defaults_and_joined_feedback(ended):
    folder, _ = ended
    (page,) = (folder / "home" / "runs").glob("*/report/report.html")
    text = page.read_text("utf-8")
    assert "column without a value" in text
    assert '<td>channel</td><td class="n">2000</td><td class="soft">unknown</td>' in text
    assert "0 for unknown requests" in text
