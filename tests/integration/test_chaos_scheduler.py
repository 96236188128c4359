"""A night under a real Airflow on PostgreSQL, S3 and Redis whose scheduler is killed twice.

`make chaos` runs it. The result must be that of an undisturbed night on one machine.
"""

from __future__ import annotations

import os
import time
from collections import Counter
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

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3000)]
STEPS = (*NIGHTLY, *CLOSING)
KILLED_IN = ("curate", "train")
NIGHT_S = 1200.0  # patience
ENDED = ("success", "failed")


def config_of(where):
    return load_config(where[3], where[1])


@pytest.fixture(scope="module")
def homes(tmp_path_factory, postgres_server, object_store_server, redis_server):
    folder = tmp_path_factory.mktemp("scheduler")
    with prepared_homes(folder, "scheduler", postgres_server, object_store_server, redis_server) as homes:
        yield homes


@pytest.fixture(scope="module")
def told(homes, postgres_server):
    """The calm night, then the disturbed one: (step, state, commands that live), Airflow's tasks and run."""
    one, many = homes["one"], homes["many"]
    for step in STEPS:
        uri = f"{config_of(one).path(config_of(one).runs_root)}/{NIGHT}"
        assert main([step, "--run-dir", uri, *one]) == 0, step
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        os.environ.pop(name, None)  # Feast sets them in this process; their folder has gone
    database, lived = postgres_server.create("scheduler_airflow"), []
    patience = "SET idle_in_transaction_session_timeout = '30s'"  # as deploy/compose/roles.sql, and sooner
    postgres_server.execute(f"ALTER DATABASE scheduler_airflow {patience}")
    with running_airflow(Path(many[1]), Path(many[3]), database) as airflow:
        api = airflow.api
        run = api.call(f"{DAG}/dagRuns", {"logical_date": None, "conf": {"night": str(NIGHT)}})
        path = f"{DAG}/dagRuns/{run['dag_run_id']}"

        def tasks():
            found = api.call(f"{path}/taskInstances?limit=100")["task_instances"]
            return {task["task_id"]: task for task in found}

        for step in KILLED_IN:
            within(NIGHT_S, lambda step=step: working(airflow, step))
            airflow.kill_scheduler()
            time.sleep(OUTAGE_S)
            lived.append((step, tasks()[step]["state"], len(working(airflow, step))))
            airflow.start("scheduler", "--skip-serve-logs")
        within(NIGHT_S, lambda: api.call(path)["state"] in ENDED)
        yield lived, tasks(), api.call(path)


def working(airflow, step):
    """The processes of a step's command."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if step in words and "pipelines" in words and f"--home={airflow.settings.home}" in words:
            found.append(process)
    return found


def test_the_night_is_that_of_one_machine(homes, told):
    assert told[2]["state"] == "success"
    one, many = (open_run(config_of(homes[name]), str(NIGHT)).manifests() for name in ("one", "many"))
    assert list(many) == list(STEPS)
    assert not [step for step in STEPS if not is_equal(step, one[step], many[step])]


def test_no_step_is_in_the_ledger_twice(homes, told):
    ledger = open_ledger(config_of(homes["many"]))
    ledger.verify()
    assert [decision.outcome for decision in ledger.decisions()] == ["trained"]
    costs = Counter(row["step"] for row in ledger.costs(str(NIGHT)) if "broken" not in row["step"])
    assert costs == dict.fromkeys(NIGHTLY, 1)
    assert main(["verify", *homes["many"]]) == 0


def test_the_table(told, capsys):
    """Printed by `make chaos`."""
    lived, tasks, run = told
    with capsys.disabled():
        print(f"\nscheduler killed and away for {OUTAGE_S:.0f} s; Airflow's run took {run['duration']:.0f} s")
        print(f"{'step':<10}{'state before its start':<24}{'commands that lived on':<24}{'tries':>6}")
        for step, state, commands in lived:
            print(f"{step:<10}{state:<24}{commands:<24}{tasks[step]['try_number']:>6}")
