"""A night under a real Airflow on PostgreSQL, S3 and Redis. Its scheduler is killed twice while a step works.

`make chaos` runs it, and prints a table. The result must be that of an undisturbed night on one machine.
The first kill takes the scheduler alone while its transaction holds the run, and its workers live on. The
second one takes its workers and their steps too, as when its machine dies.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.stores import open_ledger, open_run
from tests.support.airflow_parts import DAG, running_airflow, within
from tests.support.chaos import OUTAGE_S
from tests.support.chaos_homes import NIGHT, is_equal, prepared_homes
from tests.support.shown import show

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3000)]
STEPS = (*NIGHTLY, *CLOSING)
NIGHT_S = 1200.0  # patience
ENDED = ("success", "failed")
DATABASE = "scheduler_airflow"
TIMEOUT = "ALTER DATABASE scheduler_airflow SET idle_in_transaction_session_timeout = '30s'"  # see roles.sql
FREE_RUNS = "SELECT id FROM dag_run WHERE dag_id = 'nightly_retrain' FOR NO KEY UPDATE SKIP LOCKED"


@dataclass
class Kill:
    """One kill: how many commands of the step worked, and how many of them after it."""

    step: str
    with_workers: bool
    worked: int
    lived: int
    state: str = ""  # of the step's task before the next scheduler began


def config_of(where):
    return load_config(where[3], where[1])


@pytest.fixture(scope="module")
def homes(tmp_path_factory, postgres_server, object_store_server, redis_server):
    folder = tmp_path_factory.mktemp("scheduler")
    with prepared_homes(folder, "scheduler", postgres_server, object_store_server, redis_server) as homes:
        yield homes


@pytest.fixture(scope="module")
def calm(homes):
    """The undisturbed night."""
    one = homes["one"]
    for step in STEPS:
        uri = f"{config_of(one).path(config_of(one).runs_root)}/{NIGHT}"
        assert main([step, "--run-dir", uri, *one]) == 0, step
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        os.environ.pop(name, None)  # Feast sets them in this process; their folder has gone
    return open_run(config_of(one), str(NIGHT)).manifests()


@pytest.fixture(scope="module")
def airflow(homes, calm, postgres_server):
    many = homes["many"]
    database = postgres_server.create(DATABASE)
    postgres_server.execute(TIMEOUT)
    with running_airflow(Path(many[1]), Path(many[3]), database) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def told(request, airflow, postgres_server):
    """The disturbed night: its kills, Airflow's run, and how often PostgreSQL ended a transaction."""
    api = airflow.api
    run = api.call(f"{DAG}/dagRuns", {"logical_date": None, "conf": {"night": str(NIGHT)}})
    path = f"{DAG}/dagRuns/{run['dag_run_id']}"

    def tasks():
        found = api.call(f"{path}/taskInstances?limit=100")["task_instances"]
        return {task["task_id"]: task for task in found}

    def is_held():
        return not postgres_server.execute(FREE_RUNS, DATABASE)

    kills = []
    for step, kill in {"curate": kill_alone, "train": kill_all}.items():
        kills.append(kill(airflow, step, is_held))
        time.sleep(OUTAGE_S)
        kills[-1].state = tasks()[step]["state"]
        airflow.start("scheduler", "--skip-serve-logs")
        within(300, lambda: not is_held())
    within(NIGHT_S, lambda: api.call(path)["state"] in ENDED)
    run, found = api.call(path), tasks()
    log = (postgres_server.server.folder / "log.txt").read_text()
    yield kills, run["state"], log.count("terminating connection due to idle-in-transaction timeout")
    lines = [f"the scheduler was away for {OUTAGE_S:.0f} s; the run took {run['duration']:.0f} s"]
    lines.append(f"{'step':<10}{'workers killed too':<20}{'commands':>9}{'lived on':>10}  {'then':<9}tries")
    for kill in kills:
        words = f"{kill.step:<10}{'yes' if kill.with_workers else 'no':<20}{kill.worked:>9}{kill.lived:>10}"
        lines.append(f"{words}  {kill.state:<9}{found[kill.step]['try_number']:>5}")
    show(request, "\n".join(lines))


def kill_alone(airflow, step, is_held):
    """While it holds the run. The command waits, so that it does not end before that."""
    commands = within(NIGHT_S, lambda: working(airflow, step))
    for command in commands:
        command.suspend()
    airflow.freeze_scheduler(is_held)
    airflow.kill_scheduler(with_workers=False)
    lived = [command for command in commands if command.is_running()]
    assert is_held(), "nobody holds the run, so this kill does not show that PostgreSQL frees it"
    for command in lived:
        command.resume()
    return Kill(step, False, len(commands), len(lived))


def kill_all(airflow, step, _is_held):
    commands = within(NIGHT_S, lambda: working(airflow, step))
    airflow.kill_scheduler(with_workers=True)
    return Kill(step, True, len(commands), len(working(airflow, step)))


def working(airflow, step):
    """The processes of a step's command."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if step in words and "pipelines" in words and f"--home={airflow.settings.home}" in words:
            found.append(process)
    return found


def test_each_kill_met_a_step_at_work(told):
    alone, with_workers = told[0]
    assert (alone.worked, alone.lived) == (1, 1)
    assert (with_workers.worked, with_workers.lived) == (1, 0)
    assert with_workers.state == "running"  # as Airflow believes until another scheduler looks


def test_postgresql_freed_the_run(told):
    assert told[2] >= 1


def test_the_night_is_that_of_one_machine(homes, calm, told):
    assert told[1] == "success"
    many = open_run(config_of(homes["many"]), str(NIGHT)).manifests()
    assert list(many) == list(STEPS)
    assert not [step for step in STEPS if not is_equal(step, calm[step], many[step])]


def test_no_step_is_in_the_ledger_twice(homes, told):
    ledger = open_ledger(config_of(homes["many"]))
    ledger.verify()
    assert [decision.outcome for decision in ledger.decisions()] == ["trained"]
    costs = Counter(row["step"] for row in ledger.costs(str(NIGHT)) if "broken" not in row["step"])
    assert costs == dict.fromkeys(NIGHTLY, 1)
    assert main(["verify", *homes["many"]]) == 0
