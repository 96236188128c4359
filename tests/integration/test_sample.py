"""The sample workload through a tiny real model: deliveries, feedback, and nothing written twice."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.core.config import Model, load_config
from pipelines.core.errors import InputError
from pipelines.core.traffic_split import Adapter, Route
from pipelines.data.schema import SCHEMA
from pipelines.evaluation.tasks import task_of
from pipelines.models import open_registry, open_tracker
from pipelines.models.engine import Engine
from pipelines.runner import run_step
from pipelines.sample.packaged import convert_smollm2
from pipelines.sample.prepare import prepare_model, prepare_suite
from pipelines.sample.questions import sample_plan
from pipelines.sample.workload import write_night
from pipelines.stores import open_ledger
from pipelines.stores.runs import Run
from tests.support import tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def config(home, base):
    return load_config("config/demo.toml", home, {"model.base": str(base)})


def night_of(config, number):
    return config.sample.first_night + timedelta(days=number)


def rows_of(path):
    return pq.read_table(path, schema=SCHEMA).to_pylist()


def test_preparing_again_changes_nothing(home, config):
    prepare_model(config)
    prepare_suite(config)
    suite = home / "sample" / "suite.jsonl"
    before = suite.read_bytes(), suite.stat().st_mtime_ns
    prepare_model(config)
    prepare_suite(config)
    assert (suite.read_bytes(), suite.stat().st_mtime_ns) == before
    assert len(before[0].splitlines()) == 12 * config.sample.holdout_per_label


def test_a_night_is_made_again_to_the_byte_never_rewritten(config):
    path = write_night(config, night_of(config, 1))
    before = path.read_bytes()
    written = path.stat().st_mtime_ns
    assert write_night(config, night_of(config, 1)) == path
    assert path.stat().st_mtime_ns == written
    path.unlink()
    assert write_night(config, night_of(config, 1)).read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["part.parquet"]


def test_ingest_writes_a_sample_night_that_is_missing(config, home):
    night = night_of(config, 1)
    assert run_step("ingest", f"{home}/runs/{night}", config).verdict == "proceed"
    accounted = Run(f"{home}/runs/{night}").manifest("ingest").facts
    assert accounted["read"] == pq.read_table(write_night(config, night)).num_rows > 0
    with pytest.raises(InputError, match="not a night of the sample"):
        run_step("ingest", f"{home}/runs/{night_of(config, 90)}", config)


def test_feedback_follows_from_the_known_department(config):
    night = night_of(config, 1)
    asked = sample_plan(config).nights[1]
    label = {item.question: item.answer for item in asked}
    rows = {row["request_id"]: row for row in rows_of(write_night(config, night))}.values()
    assert len(rows) == config.sample.rows_per_night
    rated = [row for row in rows if row["rating"] is not None]
    assert 0.8 < len(rated) / len(rows) < 0.98
    for row in rows:
        wanted = label[row["messages"][-1]["content"]]
        assert row["completion"] in config.task.labels
        if row["rating"] is not None:
            assert row["rating"] == (1 if row["completion"] == wanted else -1)
        assert row["correction"] in (None, wanted)
        assert row["correction"] is None or row["rating"] == -1
    wrong = [row for row in rated if row["rating"] == -1]
    assert 0.75 < sum(row["correction"] is not None for row in wrong) / len(wrong) < 1


def test_written_answers_are_json_that_people_correct(home, base):
    config = load_config(
        "config/demo-text.toml", home, {"model.base": str(base), "sample.rows_per_night": 30}
    )
    night, task = night_of(config, 0), task_of(config)
    wanted = {item.question: item.answer for item in sample_plan(config).nights[0]}
    rows = {row["request_id"]: row for row in rows_of(write_night(config, night))}.values()
    assert len(rows) == 30
    for row in rows:
        right = wanted[row["messages"][-1]["content"]]
        assert row["correction"] in (None, right)
        assert row["rating"] in (None, 1 if task.read(row["completion"]) == right else -1)
    assert sum(row["correction"] is not None for row in rows) > 15
    assert run_step("ingest", f"{home}/runs/{night}", config).verdict == "proceed"


def test_deliveries_hold_late_rows_duplicates_and_opt_outs(config):
    night = night_of(config, 1)
    rows = rows_of(write_night(config, night))
    times = Counter(row["request_id"] for row in rows)
    assert sum(count - 1 for count in times.values()) == round(0.01 * config.sample.rows_per_night)
    late = [row for row in rows if row["ts"].date() < night]
    assert 0 < len(late) < 20
    assert {row["ts"].date() for row in rows} == {night, night - timedelta(days=1)}
    assert 0 < sum(row["opt_out"] for row in rows) < 30
    first = rows_of(write_night(config, night_of(config, 0)))
    assert {row["ts"].date() for row in first} == {night_of(config, 0)}


def test_people_keep_tenant_locale_and_wish(config):
    rows = [row for number in (0, 1) for row in rows_of(write_night(config, night_of(config, number)))]
    facts = {(row["subject_id"], row["tenant"], row["locale"], row["opt_out"]) for row in rows}
    assert len(facts) == len({row["subject_id"] for row in rows}) > 100


def test_the_production_adapter_answers_under_its_version(config, base, tmp_path):
    night = night_of(config, 2)
    by_base = rows_of(write_night(config, night))
    engine = Engine(Model(), str(base))
    said = [*by_base[0]["messages"], {"role": "assistant", "content": "Surgery"}]
    folder = tiny.make_adapter(base, tmp_path / "a", [engine.rendering.text(said, answered=True)], 60)
    (folder / "README.md").unlink(missing_ok=True)
    registry = open_registry(config)
    tracker = open_tracker(config)
    made = registry.register(folder, tracker, tracker.run("r", "f"), "r", ("2026-01-01",), {})
    ledger = open_ledger(config)
    ledger.add_promotion(
        ledger.promotion(), "test", Route(Adapter(made.version, made.digest)), "a test", "pytest"
    )
    (Path(config.home) / "sample" / "interactions" / f"dt={night}" / "part.parquet").unlink()
    by_adapter = rows_of(write_night(config, night))
    assert {row["adapter"] for row in by_base} == {"base"}
    assert {row["adapter"] for row in by_adapter} == {made.version}
    assert [r["messages"] for r in by_adapter] == [r["messages"] for r in by_base]
    assert Counter(r["completion"] for r in by_adapter) != Counter(r["completion"] for r in by_base)


def test_nights_outside_the_sample_are_refused_in_words(config):
    with pytest.raises(InputError, match="not a night of the sample"):
        write_night(config, night_of(config, config.sample.nights))


@pytest.mark.slow
def test_the_packaged_model_converts_once_and_speaks(tmp_path):
    folder = tmp_path / "models" / "smollm2-135m-instruct"
    convert_smollm2(folder)
    made = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    convert_smollm2(folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == made
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    engine = Engine(Model(), str(folder))
    assert (
        "Paris" in engine.generate([[{"role": "user", "content": "What is the capital of France?"}]], 12)[0]
    )
