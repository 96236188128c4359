"""Alerts under a real Airflow, with the real router; only the night's steps are a stand-in."""

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("airflow")
PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "plugins"))

import sqlalchemy as sa  # noqa: E402
import uvicorn  # noqa: E402
from nightshift.endpoint.app import create_app  # noqa: E402
from nightshift.local import instance as machine  # noqa: E402
from nightshift.local import main as local  # noqa: E402
from nightshift.local.api import Api  # noqa: E402
from nightshift.local.environment import password  # noqa: E402
from nightshift.settings import Settings  # noqa: E402

from pipelines.core.config import load_config  # noqa: E402
from pipelines.core.traffic_split import Adapter, Route  # noqa: E402
from pipelines.operations.dispatch_alerts import dispatch  # noqa: E402
from pipelines.stores import open_inbox, open_ledger  # noqa: E402
from pipelines.stores.ledger.tables import TASK_EVENTS  # noqa: E402
from tests.support import standin  # noqa: E402

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
PROFILE = 'profile = "test"\nschedule = ""\n[watch]\nschedule = ""\n[features]\nsync_schedule = ""\n'
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
PATIENCE_S = 120


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """The steps are the stand-in's; `alerts-route` is the real command."""
    home = tmp_path_factory.mktemp("home")
    profile, python = home / "profile.toml", home / "python"
    profile.write_text(PROFILE)
    real, steps = f'exec {sys.executable} "$@"', f'shift 2; exec {sys.executable} {standin.__file__} "$@"'
    python.write_text(f'#!/bin/sh\ncase "$3" in alerts-*) {real};; *) {steps};; esac\n')
    python.chmod(0o755)
    (home / "script.json").write_text('{"ingest": "skip"}')  # short nights
    settings = Settings(home, profile, python, load_config(profile, home))
    local.setup(settings)
    return settings


def post(settings, url, name, cause, token=None):
    """The status of a delivery."""
    token = token or (settings.home / "alerts" / "token").read_text()
    body = json.dumps({"alerts": [{"name": name, "cause": cause}]}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "traceparent": TRACE}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def posted_while_down(settings):
    """One alert is ruled on and then all is killed before its run starts; another one only arrives."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/json"
    assert post(settings, url, "InputDrift", "drift") == 200
    (ruling,), _ = dispatch(settings.config)
    assert post(settings, url, "Disliked", "quality") == 200
    server.should_exit = True
    thread.join()
    return ruling


@pytest.fixture(scope="module")
def api(settings, posted_while_down):
    instance = machine.start(settings, machine.free_port(), 0, attached=True)
    yield Api(instance.url, password(settings))
    machine.stop(instance)


def wait(until):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := until()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def runs(api, dag_id):
    found = api.call(f"/api/v2/dags/{dag_id}/dagRuns?limit=100")
    return {run["dag_run_id"]: run for run in found["dag_runs"]} if found else {}


def test_what_came_while_airflow_was_down_runs_once(api, settings, posted_while_down):
    found = wait(lambda: len(known := runs(api, "nightly_retrain")) == 2 and known)
    by_cause = {run["conf"]["cause"]: run for run in found.values()}
    assert set(by_cause) == {"alert:InputDrift", "alert:Disliked"}
    drift = by_cause["alert:InputDrift"]
    assert drift["dag_run_id"] == posted_while_down.dag_run_id
    assert drift["conf"]["traceparent"] == TRACE
    ended = ("success", "failed")
    wait(lambda: all(run["state"] in ended for run in runs(api, "nightly_retrain").values()))
    assert {run["state"] for run in runs(api, "nightly_retrain").values()} == {"success"}
    steps = [line for line in (settings.home / "calls.txt").read_text().splitlines() if line[:6] == "ingest"]
    assert len(steps) == 2
    assert any('decide.cause="alert:InputDrift"' in step and posted_while_down.id in step for step in steps)
    assert open_inbox(settings.config).unruled() == frozenset()
    ledger = open_ledger(settings.config)
    closed = sa.select(TASK_EVENTS).where(TASK_EVENTS.c.dag_id == "alert_router", TASK_EVENTS.c.task_id == "")
    wait(lambda: [row for row in ledger.rows(closed) if row["state"] == "success"])


def test_the_endpoint_takes_no_user_of_airflow(api, settings):
    url = f"{api._url}/nightshift/alerts/json"
    assert post(settings, url, "InputDrift", "drift", token="guess") == 401
    assert post(settings, url, "InputDrift", "drift", token=api._token) == 401


def test_an_alert_starts_its_dag_and_people_are_told(api, settings):
    ledger = open_ledger(settings.config)
    route = Route(production=Adapter("3", "d" * 64), has_previous=True)
    ledger.add_promotion(ledger.promotion(), "production", route, "the judge agreed", "judge", "r")
    before = len(runs(api, "nightly_retrain"))
    began = time.monotonic()
    assert post(settings, f"{api._url}/nightshift/alerts/json", "Errors", "serving") == 200
    (run,) = wait(lambda: [r for r in runs(api, "rollback").values() if r["state"] in ("running", "success")])
    print(f"alert to running DAG: {time.monotonic() - began:.1f} s")
    wait(lambda: runs(api, "rollback")[run["dag_run_id"]]["state"] == "success")
    (call,) = [json.loads(line) for line in (settings.home / "rollouts.txt").read_text().splitlines()]
    assert (call["key"], call["actor"]) == ("rollback", "alert:Errors")
    assert "Errors has fired since" in call["reason"]
    notices = [json.loads(line) for line in (settings.home / "notices.jsonl").read_text().splitlines()]
    assert [notice["subject"] for notice in notices] == ["Rollback (serving): Errors"]
    assert len(runs(api, "nightly_retrain")) == before
    ledger.verify()
