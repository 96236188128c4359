"""What the listener writes into the ledger and as notes: the real DAGs, and Airflow's own tables."""

import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from airflow.dag_processing.dagbag import DagBag
from nightshift import listener
from nightshift.operators.command import ANSWER, FAULT, Followed
from nightshift.settings import Settings
from sqlalchemy.orm import Session

from pipelines.core.contract import NIGHTLY
from pipelines.stores import open_ledger
from pipelines.stores.ledger.tables import TASK_EVENTS

PROJECT = Path(__file__).resolve().parents[2]
NOT_OURS = {"EmptyOperator", "TriggerDagRunOperator"}
START = datetime(2026, 1, 4, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def bag():
    return DagBag(str(PROJECT / "dags"))


def test_every_operator_of_ours_is_followed(bag):
    """The scheduler knows the name of a task's class only: as a TaskInstance holds it."""
    ours = {
        task.task_type for dag in bag.dags.values() for task in dag.tasks if task.task_type not in NOT_OURS
    }
    assert ours == {
        *("StepOperator", "RecordOperator", "RolloutOperator", "AbortOperator"),
        *("Approval", "RouteOperator", "WatchOperator", "FeatureSyncOperator"),
    }
    # In a process of its own, because the DAGs that are loaded here have imported every operator.
    program = "from nightshift import listener; print(*listener.followed())"
    path = f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"
    environment = {**os.environ, "PYTHONPATH": path}
    out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ours <= set(out.stdout.splitlines()[-1].split())


def test_tasks_and_scheduler_follow_the_same_operators(bag):
    for task in (task for dag in bag.dags.values() for task in dag.tasks):
        assert isinstance(task, Followed) is (task.task_type in listener.followed())


@pytest.fixture
def airflow(settings, monkeypatch):
    """A session on Airflow's own tables in an empty database; the listener works on the home of the test."""
    import airflow.models as models

    monkeypatch.setattr(Settings, "from_environment", lambda: settings)
    models.import_all_models()
    engine = sa.create_engine("sqlite://")
    models.Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session


def ended_run(session, dag, state, tasks, pushed=()):
    """A run of `dag` that ended: `tasks` maps a task's id to its state, `pushed` are its XComs."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel

    times = {"start_date": START, "end_date": START + timedelta(minutes=1)}
    row = {"id": 1, "dag_id": dag.dag_id, "run_id": "run-1", "state": state, "run_type": "manual"}
    session.execute(sa.insert(DagRun.__table__).values({**row, "run_after": START, **times}))
    for number, (task_id, task_state) in enumerate(tasks.items()):
        task = dag.get_task(task_id)
        values = {"id": uuid.UUID(int=number + 1), "task_id": task_id}
        values |= {"dag_id": dag.dag_id, "run_id": "run-1", "state": task_state, "operator": task.task_type}
        values |= {"try_number": 1, "map_index": -1, "max_tries": 1, "hostname": "", "unixname": ""}
        values |= {"pool": "default_pool", "pool_slots": 1, "queue": "default", "executor_config": {}}
        if task_state in ("success", "failed"):
            values |= times
        session.execute(sa.insert(TaskInstance.__table__).values(values))
    for task_id, key, value in pushed:
        values = {
            "dag_run_id": 1,
            "task_id": task_id,
            "map_index": -1,
            "key": key,
            "value": json.dumps(value),
        }
        session.execute(
            sa.insert(XComModel.__table__).values({**values, "dag_id": dag.dag_id, "run_id": "run-1"})
        )
    session.commit()
    return session.scalars(sa.select(DagRun)).one()


def events(settings):
    """task_id -> (state, message) of run-1 in the ledger; the run itself has an empty id."""
    rows = open_ledger(settings.config).rows(sa.select(TASK_EVENTS).where(TASK_EVENTS.c.run_id == "run-1"))
    return {row["task_id"]: (row["state"], row["message"]) for row in rows}


def test_a_run_of_the_alert_router_closes(airflow, bag, settings):
    routed = {"headline": "1 ruling, 1 run to start", "start": [], "tell": []}
    tasks, pushed = {"route": "success", "start": "success"}, [("route", ANSWER, routed)]
    run = ended_run(airflow, bag.dags["alert_router"], "success", tasks, pushed)
    listener.on_dag_run_success(run)
    assert events(settings) == {"": ("success", "route: 1 ruling, 1 run to start")}


@pytest.mark.parametrize(
    "dag", ["alert_router", "drift_watch", "feature_sync", "nightly_retrain", "promote", "rollback"]
)
def test_a_failed_run_of_every_dag_closes(airflow, bag, settings, dag):
    first = bag.dags[dag].roots[0]
    run = ended_run(
        airflow, bag.dags[dag], "failed", {first.task_id: "failed"}, [(first.task_id, FAULT, "It rains.")]
    )
    listener.on_dag_run_failed(run)
    assert events(settings) == {"": ("failed", f"{first.task_id}: fault: It rains.")}


def test_a_refusal_and_what_never_started_are_recorded(airflow, bag, settings):
    tasks = {"shadow": "success", "approve": "success", "canary_05": "skipped"}
    pushed = [("approve", ANSWER, {"person": "ann", "approved": False})]
    run = ended_run(airflow, bag.dags["promote"], "success", tasks, pushed)
    listener.on_dag_run_success(run)
    assert events(settings) == {
        "canary_05": ("skipped", ""),
        "": ("success", "approve: not approved by ann"),
    }


def test_a_note_shows_the_decision_first_and_who_stopped(airflow, bag, settings):
    step = {"reasons": [], "headline": "done"}
    pushed = [(name, ANSWER, {**step, "verdict": "proceed"}) for name in ("ingest", "record")]
    pushed += [("decide", ANSWER, {"verdict": "skip", "reasons": ["Nothing new."], "headline": "no"})]
    tasks = dict.fromkeys(("ingest", "decide", "record"), "success")
    run = ended_run(airflow, bag.dags["nightly_retrain"], "success", tasks, pushed)
    listener.on_dag_run_success(run)
    assert run.note == "done\ndecide: skip: Nothing new."
    assert {ti.task_id: ti.note for ti in run.get_task_instances(session=airflow)} == {
        "ingest": None,
        "decide": "skip: Nothing new.",
        "record": "done",
    }


def test_a_run_without_a_task_of_ours_is_left_alone(airflow, bag, settings):
    run = ended_run(airflow, bag.dags["nightly_retrain"], "success", {"trained": "success"})
    listener.on_dag_run_success(run)
    assert not (settings.home / "ledger.db").exists()
    assert set(NIGHTLY) <= set(bag.dags["nightly_retrain"].task_ids)
