"""Rollouts under a real Airflow (scheduler, API server, DAG processor); only the commands are a stand-in."""

import json
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("airflow")
PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "plugins"))

from nightshift.local import instance as machine  # noqa: E402
from nightshift.local import main as local  # noqa: E402
from nightshift.local.api import Api  # noqa: E402
from nightshift.local.environment import password  # noqa: E402
from nightshift.local.follow import follow, start_night  # noqa: E402
from nightshift.settings import Settings  # noqa: E402

from pipelines.core.config import load_config  # noqa: E402
from tests.support.standin import write_interpreter  # noqa: E402

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
PROFILE = """
profile = "test"
schedule = ""
[features]
sync_schedule = ""
[promote]
interval_s = 5
[notify]
night_late_s = 1
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    profile = home / "profile.toml"
    profile.write_text(PROFILE)
    settings = Settings(home, profile, write_interpreter(home / "python"), load_config(profile, home))
    local.setup(settings)
    return settings


@pytest.fixture(scope="module")
def api(settings):
    instance = machine.start(settings, machine.free_port(), 0, attached=True)
    api = Api(instance.url, password(settings))
    known(api, "promote")
    assert api.call("/api/v2/dags/promote")["is_paused"]  # until a person says that a gateway serves
    patch(api, "/api/v2/dags/promote", {"is_paused": False})
    yield api
    machine.stop(instance)


def script(settings, **answers):
    (settings.home / "script.json").write_text(json.dumps(answers))
    (settings.home / "rollouts.txt").unlink(missing_ok=True)


def known(api, dag_id):
    deadline = time.monotonic() + 60
    while not api.call(f"/api/v2/dags/{dag_id}"):
        assert time.monotonic() < deadline
        time.sleep(0.3)


def trigger(api, dag_id, conf=None):
    known(api, dag_id)
    body = {"logical_date": None, "conf": conf or {}}
    return f"/api/v2/dags/{dag_id}/dagRuns/" + api.call(f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"]


def states(api, run):
    return {t["task_id"]: t["state"] for t in api.call(f"{run}/taskInstances")["task_instances"]}


def wait(api, run, until):
    """Wait until `until(state of the run, states of its tasks)` holds; returns both."""
    deadline = time.monotonic() + 90
    while True:
        state, tasks = api.call(run)["state"], states(api, run)
        if until(state, tasks):
            return state, tasks
        assert time.monotonic() < deadline, (state, tasks)
        time.sleep(0.3)


def ended(state, _tasks):
    return state in ("success", "failed")


def answer(api, run, option):
    """As a person does, some time after the question: an answer within a tenth of a second can meet the
    executor's report that the task has ended, which Airflow then takes for a failure."""
    wait(api, run, lambda _state, tasks: tasks.get("approve") == "awaiting_input")
    time.sleep(2)
    answered = {"chosen_options": [option], "params_input": {}}
    patch(api, f"{run}/taskInstances/approve/-1/hitlDetails", answered)


def patch(api, path, body):
    headers = {"Authorization": f"Bearer {api._token}", "Content-Type": "application/json"}
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{api._url}{path}", data, headers, method="PATCH")
    urllib.request.urlopen(request, timeout=60).close()


def calls(settings):
    return [json.loads(line) for line in (settings.home / "rollouts.txt").read_text().splitlines()]


def test_a_trained_night_wakes_a_rollout_that_a_person_approves(api, settings):
    script(settings, shadow="moved", **{"judge shadow": ["continue", "promote"]})
    assert follow(api, start_night(api, {"night": "2026-01-01"})).succeeded
    runs = "/api/v2/dags/promote/dagRuns"
    deadline = time.monotonic() + 60
    while not (found := api.call(f"{runs}?run_type=asset_triggered")["dag_runs"]):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    run = f"{runs}/{found[0]['dag_run_id']}"
    answer(api, run, "Approve")
    state, tasks = wait(api, run, ended)
    assert state == "success"
    assert {name for name, is_ in tasks.items() if is_ == "skipped"} == {"abort", "aborted"}
    made = calls(settings)
    assert [call["key"] for call in made].count("judge shadow") == 2
    assert [call["to"] for call in made if call["to"]] == ["canary_05", "canary_25", "production"]
    first = next(call for call in made if call["to"] == "canary_05")
    assert (first["actor"], first["digest"]) == ("admin", "d" * 64)
    detail = api.call(f"{run}/taskInstances/approve/-1/hitlDetails")
    assert "d" * 64 in detail["body"]
    assert "report.html" in detail["body"]


def test_a_refusal_ends_the_rollout_and_is_no_failure(api, settings):
    script(settings, shadow="moved")
    run = trigger(api, "promote", {"version": "3"})
    answer(api, run, "Reject")
    state, tasks = wait(api, run, ended)
    assert state == "success"
    assert (tasks["abort"], tasks["aborted"], tasks["promoted"]) == ("success", "success", "skipped")
    assert (calls(settings)[-1]["key"], calls(settings)[-1]["reason"]) == ("abort", "not approved by admin")
    assert "approve: not approved by admin" in api.call(run)["note"]


def test_the_judges_abort_shows_as_such_and_is_no_failure(api, settings):
    script(settings, shadow="moved", **{"judge canary_05": "abort"})
    run = trigger(api, "promote", {"version": "3"})
    answer(api, run, "Approve")
    state, tasks = wait(api, run, ended)
    assert state == "success"
    assert (tasks["judge_canary_05"], tasks["canary_25"]) == ("success", "skipped")
    assert (tasks["abort"], tasks["aborted"], tasks["promoted"]) == ("success", "success", "skipped")
    assert (calls(settings)[-1]["actor"], calls(settings)[-1]["reason"]) == ("judge", "It rained.")
    assert "It rained." in api.call(run)["note"]


def test_a_fault_fails_the_run_and_ends_the_rollout(api, settings):
    script(settings, shadow="moved", **{"judge shadow": "fault"})
    run = trigger(api, "promote", {"version": "3"})
    state, tasks = wait(api, run, ended)
    assert state == "failed"
    assert (tasks["judge_shadow"], tasks["abort"]) == ("failed", "success")


def test_rollback_by_one_click_names_who_and_why(api, settings):
    script(settings)
    run = trigger(api, "rollback", {"reason": "it is rude"})
    assert wait(api, run, ended)[0] == "success"
    assert (calls(settings)[-1]["actor"], calls(settings)[-1]["reason"]) == ("admin", "it is rude")


def test_people_were_told_of_late_night_and_failed_rollout(settings):
    deadline = time.monotonic() + 30
    wanted = {"Night 2026-01-01 is late", "promote failed"}
    while wanted - (told := {notice["subject"].split(" at ")[0] for notice in notices(settings)}):
        assert time.monotonic() < deadline, told
        time.sleep(0.3)
    assert all("/runs/" in notice["link"] for notice in notices(settings))


def notices(settings):
    path = settings.home / "notices.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
