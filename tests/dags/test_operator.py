"""The operator against a real command (the stand-in), without a database."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, DownstreamTasksSkipped
from nightshift.operators.command import ANSWER
from nightshift.operators.step import RecordOperator, StepOperator

from pipelines.core.contract import NIGHTLY

PROJECT = Path(__file__).resolve().parents[2]


class Notes:
    """Stands for the running task instance: keeps what is pushed."""

    map_index = -1

    def __init__(self, task, others=()):
        self.task, self.pushed, self.others = task, {}, others

    def xcom_push(self, key, value):
        self.pushed[key] = value

    def xcom_pull(self, task_ids, key):
        return self.others


@pytest.fixture
def dag(settings):
    with DAG("night") as dag:
        steps = {step: StepOperator(task_id=step, settings=settings) for step in NIGHTLY}
        for step, needs in NIGHTLY.items():
            [steps[need] for need in needs] >> steps[step]
        record = RecordOperator(task_id="record", settings=settings)
        outcomes = [
            StepOperator(task_id=name, settings=settings) for name in RecordOperator.OUTCOMES.values()
        ]
        list(steps.values()) >> record >> outcomes
    return dag


def run(task, others=(), **params):
    ti = Notes(task, others)
    dag_run = SimpleNamespace(
        dag_id="nightly_retrain",
        run_id="r",
        run_type="manual",
        conf=None,
        run_after=datetime(2026, 1, 4, tzinfo=UTC),
    )
    context = {"ti": ti, "dag_run": dag_run, "params": params, "triggering_asset_events": {}}
    try:
        task.execute(context)
    except DownstreamTasksSkipped as skipped:
        return ti, sorted(name if isinstance(name, str) else name[0] for name in skipped.tasks)
    return ti, []


def script(settings, **answers):
    (settings.home / "script.json").write_text(json.dumps(answers))


def test_proceed_pushes_the_answer(dag, settings):
    ti, skipped = run(dag.get_task("decide"), night="2026-01-03", force=True, epochs=2)
    assert skipped == []
    assert ti.pushed[ANSWER]["verdict"] == "proceed"
    assert ti.pushed[ANSWER]["headline"] == "decide is done"
    assert Path(ti.pushed[ANSWER]["manifest_uri"]).exists()
    assert ti.pushed[ANSWER]["started"] < ti.pushed[ANSWER]["ended"]
    step, run_id, *overrides = (settings.home / "calls.txt").read_text().split()
    assert (step, run_id[:11]) == ("decide", "2026-01-03-")
    assert overrides == ["decide.force=true", "train.epochs=2"]


@pytest.mark.parametrize("verdict", ["skip", "hold", "reject"])
def test_another_verdict_skips_later_steps_but_not_the_record(dag, settings, verdict):
    script(settings, decide=verdict)
    ti, skipped = run(dag.get_task("decide"))
    assert ti.pushed[ANSWER]["verdict"] == verdict
    assert skipped == sorted(step for step, needs in NIGHTLY.items() if "decide" in needs)


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("proceed", "trained"),
        ("skip", "skipped"),
        ("hold", "held"),
        ("reject", "rejected"),
        ("wait", "waiting"),
    ],
)
def test_record_lets_one_outcome_go_on(dag, verdict, outcome):
    others = [{"verdict": "proceed"}, {"verdict": verdict}, None]
    _, skipped = run(dag.get_task("record"), others)
    assert set(skipped) == set(RecordOperator.OUTCOMES.values()) - {outcome}


def test_an_error_to_act_on_is_not_retried_and_says_what_to_do(dag, settings):
    script(settings, train="fault")
    with pytest.raises(AirflowFailException) as caught:
        run(dag.get_task("train"))
    assert str(caught.value) == "It rains in train. Take an umbrella."


def test_a_crash_is_retried_and_shows_its_last_words(dag, settings):
    script(settings, train="crash")
    with pytest.raises(AirflowException, match=r"exit status 1\..*RuntimeError: It rains in train") as caught:
        run(dag.get_task("train"))
    assert not isinstance(caught.value, AirflowFailException)


def test_the_log_streams_while_the_step_works(dag, settings, capfd):
    script(settings, train="sleep")
    task = dag.get_task("train")
    worker = threading.Thread(target=_swallow, args=(task,))
    worker.start()
    assert _within(10, lambda: "train works with" in capfd.readouterr().out)
    assert worker.is_alive()
    task.on_kill()
    worker.join(5)
    assert not worker.is_alive()


@pytest.mark.parametrize("manners", ["sleep", "sleep deaf"])
def test_killing_the_task_ends_the_command(dag, settings, manners):
    script(settings, train=manners)
    task, raised = dag.get_task("train"), []
    worker = threading.Thread(target=_swallow, args=(task, raised))
    worker.start()
    pid = _step_pid(settings.home)
    task.on_kill()
    worker.join(5)
    assert not psutil.pid_exists(pid)
    assert "ended with SIG" in str(raised[0])


def test_a_timeout_ends_the_command(dag, settings):
    script(settings, train="sleep")

    def alarm(_number, _frame):
        raise TimeoutError

    signal.signal(signal.SIGALRM, alarm)
    threading.Thread(target=lambda: (_step_pid(settings.home), os.kill(os.getpid(), signal.SIGALRM))).start()
    with pytest.raises(TimeoutError):
        run(dag.get_task("train"))
    assert not psutil.pid_exists(_step_pid(settings.home))


def test_the_command_dies_with_a_runner_that_is_killed(settings):
    script(settings, train="sleep deaf")
    program = f"""
import sys
sys.path.insert(0, {str(PROJECT / "plugins")!r})
sys.path.insert(0, {str(PROJECT)!r})
import logging
from pathlib import Path
from nightshift.launchers import Command
from nightshift.launchers.process import ProcessLauncher
from nightshift.settings import Settings
settings = Settings(Path({str(settings.home)!r}), Path("x"), Path({str(settings.python)!r}), None)
ProcessLauncher(settings).run(Command(["train", "--run-dir=x"], "d", "r", ""), logging.getLogger())
"""
    runner = subprocess.Popen([sys.executable, "-c", program], env=dict(os.environ))
    pid = _step_pid(settings.home)
    runner.kill()
    runner.wait()
    assert _within(3, lambda: not psutil.pid_exists(pid) or _is_zombie(pid))


def test_the_command_does_not_see_airflows_secrets(dag, settings, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    settings.python.write_text("#!/bin/sh\nenv\nexit 3\n")
    task = dag.get_task("train")
    lines = []
    monkeypatch.setattr(type(task).log.fget(task), "info", lambda *words: lines.append(words[-1]))
    with pytest.raises(AirflowException):
        run(task)
    assert any(line.startswith("PATH=") for line in lines)
    assert not any(line.startswith("AIRFLOW") for line in lines)


def _swallow(task, raised=None):
    try:
        run(task)
    except AirflowException as error:
        (raised if raised is not None else []).append(error)


def _step_pid(home, limit=timedelta(seconds=20)):
    file = home / "train.pid"
    assert _within(limit.total_seconds(), lambda: file.exists() and file.read_text() != "")
    return int(file.read_text())


def _within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _is_zombie(pid):
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
