"""What must hold for every DAG, and the wiring of the nightly one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import ParamValidationError
from nightshift.operators.command import CommandOperator

from pipelines.core.contract import CLOSING, NIGHTLY

PROJECT = Path(__file__).resolve().parents[2]
OUTCOMES = {"trained", "skipped", "held", "rejected", "waiting"}
HEAVY = ("torch", "transformers", "mlflow", "pandas", "numpy", "pyarrow", "sklearn", "pipelines.runner")


@pytest.fixture(scope="module")
def bag():
    return DagBag(str(PROJECT / "dags"))


@pytest.fixture(scope="module")
def dag(bag):
    return bag.dags["nightly_retrain"]


def test_every_dag_loads_and_is_expected(bag):
    assert bag.import_errors == {}
    expected = {"alert_router", "drift_watch", "feature_sync", "nightly_retrain", "promote", "rollback"}
    assert set(bag.dags) == expected


def test_every_dag_is_documented_tagged_owned_and_bounded(bag):
    for dag in bag.dags.values():
        assert len(dag.doc_md) > 200
        assert "nightshift" in dag.tags
        assert dag.max_active_runs == 1
        assert dag.catchup is False
        waiting = ("EmptyOperator", "Approval")  # these run nothing
        steps = [task for task in dag.tasks if task.operator_name not in waiting]
        assert all(task.owner == "nightshift" for task in steps)
        assert all(task.retries == 1 and task.execution_timeout.total_seconds() == 3600 for task in steps)


def test_every_command_runs_through_a_launcher(bag):
    """So each of them runs in a pod where the profile says so."""
    idle = {"EmptyOperator", "Approval", "TriggerDagRunOperator"}  # these run no command
    tasks = [task for dag in bag.dags.values() for task in dag.tasks if task.operator_name not in idle]
    assert len(tasks) > 20
    for task in tasks:
        kind = getattr(task, "operator_class", type(task))
        assert issubclass(kind, CommandOperator), task.task_id
        assert kind._run is CommandOperator._run, task.task_id


def test_features_wait_out_a_redis_that_starts_again(dag):
    """The step ends at once where Redis is away, so its retry must come after an outage of 30 s."""
    assert dag.get_task("features").retry_delay.total_seconds() == 60
    assert dag.get_task("ingest").retry_delay.total_seconds() == 10


def test_edges_are_those_of_the_contract(dag):
    for step, needs in NIGHTLY.items():
        assert dag.get_task(step).upstream_task_ids == set(needs)
        assert dag.get_task(step).trigger_rule == TriggerRule.ALL_SUCCESS
    assert set(dag.task_ids) == {*NIGHTLY, *CLOSING, *OUTCOMES}


def test_report_and_record_close_every_night(dag):
    report, record = dag.get_task("report"), dag.get_task("record")
    assert report.upstream_task_ids == set(NIGHTLY)
    assert report.trigger_rule == TriggerRule.ALL_DONE
    assert record.upstream_task_ids == {*NIGHTLY, "report"}
    assert record.trigger_rule == TriggerRule.NONE_FAILED
    assert record.downstream_task_ids == OUTCOMES
    assert {task.task_id for task in dag.leaves} == OUTCOMES


def test_pools(dag):
    pools = {step: dag.get_task(step).pool for step in NIGHTLY}
    assert {step for step, pool in pools.items() if pool == "gpu"} == {"train"}
    assert {step for step, pool in pools.items() if pool == "model"} == {"evaluate", "fairness", "safety"}


@pytest.mark.parametrize(
    "values",
    [
        {"night": "2026-13-01"},
        {"night": 20260101},
        {"force": "yes"},
        {"epochs": 0},
        {"epochs": 1.5},
        {"rank": "16"},
        {"rank": 1000},
        {"dry_run": None},
    ],
)
def test_the_form_refuses_what_makes_no_sense(dag, values):
    ((name, value),) = values.items()
    with pytest.raises(ParamValidationError):
        dag.params.get_param(name).resolve(value)


@pytest.mark.parametrize(
    "values", [{"night": None}, {"night": "2026-01-03"}, {"epochs": 2}, {"epochs": None}, {"force": True}]
)
def test_the_form_takes_what_does(dag, values):
    for name, value in values.items():
        assert dag.params.get_param(name).resolve(value) == value


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("30 3 * * *", "CronTriggerTimetable 30 3 * * *"), ("", "NullTimetable None")],
)
def test_the_nightly_schedule_is_the_configurations(tmp_path, schedule, expected):
    profile = tmp_path / "nightly.toml"
    profile.write_text(f'profile = "nightly"\nschedule = "{schedule}"\n')
    program = (
        "from airflow.dag_processing.dagbag import DagBag; import sys;"
        "timetable = DagBag(sys.argv[1]).dags['nightly_retrain'].timetable;"
        "print(type(timetable).__name__, getattr(timetable, 'expression', None))"
    )
    out = _python(program, str(PROJECT / "dags"), NIGHTSHIFT_CONFIG=str(profile))
    assert out.splitlines()[-1] == expected


def test_parsing_loads_no_ml_library():
    program = "import runpy, sys; [runpy.run_path(file) for file in sys.argv[1:]]; print(*sys.modules)"
    files = sorted(str(file) for file in (PROJECT / "dags").glob("*.py"))
    assert len(files) == 7
    loaded = _python(program, *files).splitlines()[-1].split()
    assert [name for name in HEAVY if name in loaded] == []


def test_generated_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, PROJECT / "docs" / "generate.py", "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def _python(program, *arguments, **environment):
    path = f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
