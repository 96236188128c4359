"""The hourly looks as tasks: their command lines, their answers, their schedules."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException
from nightshift.operators.command import ANSWER, FAULT
from nightshift.operators.watch import FeatureSyncOperator, WatchOperator

PROJECT = Path(__file__).resolve().parents[2]
# Stands for the work environment's Python: writes down how it was called, and answers as `watch` does.
STAND_IN = """#!{python}
import json, sys
from pathlib import Path
words = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[4:])
home = Path(words["home"])
(home / "words.json").write_text(json.dumps({{"command": sys.argv[1:4], **words}}))
if (home / "broken").exists():
    print("fault: There is no Pushgateway. Start it.", file=sys.stderr)
    sys.exit(2)
answer = {{"step": "watch", "verdict": "hold", "reasons": ["input: tenant moved."], "headline": "alarm",
          "manifest_uri": "file:///x", "seconds": 1.0, "reused": False}}
Path(words["result"]).write_text(json.dumps(answer))
"""


@pytest.fixture
def task(settings):
    settings.python.write_text(STAND_IN.format(python=sys.executable))
    return WatchOperator(task_id="watch", settings=settings)


def look(task):
    pushed = {}
    ti = SimpleNamespace(xcom_push=pushed.__setitem__, task=task, map_index=-1)
    run = SimpleNamespace(
        dag_id="drift_watch", run_id="scheduled__2026", conf=None, run_after=datetime(2026, 1, 4, tzinfo=UTC)
    )
    context = {"ti": ti, "dag_run": run, "params": {}, "triggering_asset_events": {}}
    return context, pushed


def test_an_alarm_is_an_answer_under_the_runs_name(task, settings):
    context, pushed = look(task)
    task.execute(context)
    assert pushed[ANSWER]["reasons"] == ["input: tenant moved."]
    said = (settings.home / "words.json").read_text()
    assert '"command": ["-m", "pipelines", "watch"]' in said
    assert '"run-id": "scheduled__2026"' in said
    assert str(settings.config_path) in said


def test_an_error_to_act_on_is_not_retried(task, settings):
    (settings.home / "broken").touch()
    context, pushed = look(task)
    with pytest.raises(AirflowFailException, match="There is no Pushgateway"):
        task.execute(context)
    assert "Start it." in pushed[FAULT]


def test_what_a_sync_found_is_an_answer_too(task, settings):
    context, pushed = look(task)
    FeatureSyncOperator(task_id="sync", settings=settings).execute(context)
    assert pushed[ANSWER]["verdict"] == "hold"
    assert '"command": ["-m", "pipelines", "features-sync"]' in (settings.home / "words.json").read_text()


@pytest.mark.parametrize(
    ("dag", "line", "expected"),
    [
        ("drift_watch", "", "0 * * * *"),
        ("drift_watch", '[watch]\nschedule = ""\n', "None"),
        ("feature_sync", "", "30 * * * *"),
        ("feature_sync", '[features]\nsync_schedule = ""\n', "None"),
    ],
)
def test_the_schedule_is_the_configurations(tmp_path, dag, line, expected):
    profile = tmp_path / "profile.toml"
    profile.write_text(f'profile = "test"\n{line}')
    program = (
        "from airflow.dag_processing.dagbag import DagBag; import sys;"
        "dag = DagBag(sys.argv[1]).dags[sys.argv[2]];"
        "print(getattr(dag.timetable, 'expression', None))"
    )
    path = f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"
    done = subprocess.run(
        [sys.executable, "-c", program, str(PROJECT / "dags" / f"{dag}.py"), dag],
        env={**os.environ, "PYTHONPATH": path, "NIGHTSHIFT_CONFIG": str(profile)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == expected
