"""The promote and rollback DAGs: their wiring, and each operator against a real command (the stand-in)."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    DownstreamTasksSkipped,
    ParamValidationError,
)
from nightshift.operators.approval import Approval
from nightshift.operators.command import ANSWER

PROJECT = Path(__file__).resolve().parents[2]
ORDER = [
    *("shadow", "judge_shadow", "approve", "canary_05", "judge_canary_05"),
    *("canary_25", "judge_canary_25", "production"),
]
BEGUN = {"answer": "moved", "version": "3", "digest": "d" * 64, "headline": "begun", "reasons": []}


@pytest.fixture(scope="module")
def bag():
    return DagBag(str(PROJECT / "dags"))


@pytest.fixture
def dag(bag, settings):
    """The DAG, its commands answered by the stand-in."""
    dag = bag.dags["promote"]
    for task in dag.tasks:
        if hasattr(task, "settings"):
            task.settings = settings
    return dag


class Notes:
    """Stands for the running task instance: what others said, and what is pushed."""

    map_index = -1

    def __init__(self, said):
        self.said, self.pushed = said, {}

    def xcom_push(self, key, value):
        self.pushed[key] = value

    def xcom_pull(self, task_ids, key):
        return self.said.get((task_ids, key))


def run(task, said=None, **params):
    """(what was pushed, which tasks are skipped)"""
    ti = Notes({(name, ANSWER): answer for name, answer in {"shadow": BEGUN, **(said or {})}.items()})
    dag_run = SimpleNamespace(dag_id="promote", run_id="run-1", triggering_user_name="carl", conf=None)
    try:
        context = {"ti": ti, "task": task, "dag_run": dag_run, "params": {"version": None, **params}}
        task.execute({**context, "triggering_asset_events": {}})
    except DownstreamTasksSkipped as skipped:
        return ti.pushed, sorted(name if isinstance(name, str) else name[0] for name in skipped.tasks)
    return ti.pushed, []


def script(settings, **answers):
    (settings.home / "script.json").write_text(json.dumps(answers))


def last_call(settings):
    return json.loads((settings.home / "rollouts.txt").read_text().splitlines()[-1])


def approved(person, yes=True):
    return {"person": person, "approved": yes}


def test_stages_are_those_of_the_configuration_in_their_order(dag):
    for before, after in itertools.pairwise(ORDER):
        assert dag.get_task(after).upstream_task_ids == {before}
        assert dag.get_task(after).trigger_rule == TriggerRule.ALL_SUCCESS
    assert set(dag.task_ids) == {*ORDER, "abort", "promoted", "aborted"}
    assert dag.get_task("abort").trigger_rule == TriggerRule.ALL_DONE
    assert dag.get_task("production").downstream_task_ids == {"promoted", "abort"}
    assert {task.task_id for task in dag.leaves} == {"promoted", "aborted"}


def test_a_trained_night_starts_it_through_the_candidate_asset(bag, dag):
    assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["nightshift_candidate"]
    nightly = bag.dags["nightly_retrain"]
    emitting = {task.task_id for task in nightly.tasks if task.outlets}
    assert emitting == {"trained"}


def test_an_approval_names_digest_and_report_and_defaults_to_no(dag):
    approve = dag.get_task("approve")
    assert "['digest']" in approve.body
    assert "['report']" in approve.body
    assert approve.defaults == [Approval.REJECT]
    assert approve.response_timeout.total_seconds() == 86_400


def test_a_second_person_is_asked_if_configured(tmp_path, monkeypatch):
    profile = tmp_path / "strict.toml"
    profile.write_text('profile = "strict"\n[promote]\nsecond_person = true\n')
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(profile))
    strict = DagBag(str(PROJECT / "dags")).dags["promote"]
    assert strict.get_task("approve_second").upstream_task_ids == {"approve"}
    assert strict.get_task("canary_05").upstream_task_ids == {"approve_second"}


def test_shadow_begins_with_the_asked_version(dag, settings):
    script(settings, shadow="moved")
    pushed, skipped = run(dag.get_task("shadow"), version="7")
    assert (pushed[ANSWER]["answer"], skipped) == ("moved", [])
    assert (last_call(settings)["version"], last_call(settings)["actor"]) == ("7", "carl")


def test_with_no_candidate_all_is_skipped(dag, settings):
    assert run(dag.get_task("shadow"))[1] == ["judge_shadow"]
    with pytest.raises(AirflowSkipException, match="No rollout"):
        run(dag.get_task("abort"), {"shadow": {**BEGUN, "answer": "nothing"}})


def test_a_judge_that_needs_more_waits_without_a_worker(dag, settings):
    script(settings, **{"judge shadow": "continue"})
    with pytest.raises(AirflowRescheduleException) as caught:
        run(dag.get_task("judge_shadow"))
    assert caught.value.reschedule_date is not None


@pytest.mark.parametrize(
    ("task", "key", "skipped"),
    [
        ("judge_shadow", "judge shadow", ["approve"]),
        ("judge_canary_25", "judge canary_25", ["production"]),
        ("production", "advance production", ["promoted"]),
    ],
)
def test_an_abort_skips_what_follows_but_not_the_abort(dag, settings, task, key, skipped):
    script(settings, **{key: "abort"})
    assert run(dag.get_task(task))[1] == skipped


def test_a_move_names_who_approved_and_what(dag, settings):
    run(dag.get_task("canary_05"), {"approve": approved("ann")})
    call = last_call(settings)
    assert (call["actor"], call["reason"], call["run_id"]) == ("ann", "approved by ann", "run-1")
    assert (call["version"], call["digest"], call["to"]) == ("3", "d" * 64, "canary_05")
    run(dag.get_task("canary_25"), {"approve": approved("ann")})
    assert last_call(settings)["actor"] == "judge"


@pytest.mark.parametrize(
    ("said", "actor", "reason"),
    [
        ({"judge_canary_05": {**BEGUN, "answer": "abort", "reasons": ["slow"]}}, "judge", "slow"),
        ({"approve": approved("ann", False)}, "ann", "not approved by ann"),
        ({"approve": approved("", False)}, "airflow", "nobody approved in time"),
        ({}, "airflow", "a task of this run failed, so nobody watches the rollout"),
    ],
)
def test_the_abort_says_who_ended_it_and_why(dag, settings, said, actor, reason):
    assert run(dag.get_task("abort"), said)[1] == []
    call = last_call(settings)
    assert (call["key"], call["actor"], call["reason"]) == ("abort", actor, reason)
    assert call["digest"] == "d" * 64


def test_what_is_in_production_is_not_aborted(dag):
    with pytest.raises(AirflowSkipException, match="in production"):
        run(dag.get_task("abort"), {"production": BEGUN})


def test_a_fault_is_not_retried(dag, settings):
    script(settings, **{"advance canary_05": "fault"})
    with pytest.raises(AirflowFailException, match="Take an umbrella"):
        run(dag.get_task("canary_05"), {"approve": approved("ann")})


@pytest.mark.parametrize(("person", "approved_by_two"), [("bob", True), ("ann", False)])
def test_the_second_person_is_another_one(dag, person, approved_by_two):
    second = Approval(task_id="second", subject="?", other_than="approve")
    event = {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": person}}
    event |= {"params_input": {}, "responded_at": SimpleNamespace(isoformat=str)}
    ti = Notes({("approve", ANSWER): approved("ann")})
    second.execute_complete({"ti": ti, "task": dag.get_task("canary_05")}, event)
    assert ti.pushed[ANSWER] == approved(person, approved_by_two)


def test_rollback_takes_the_reason_and_the_person(bag, settings):
    dag = bag.dags["rollback"]
    task = dag.get_task("rollback")
    task.settings = settings
    run(task, reason="it is rude")
    call = last_call(settings)
    assert (call["key"], call["reason"], call["actor"]) == ("rollback", "it is rude", "carl")
    with pytest.raises(ParamValidationError):
        dag.params.get_param("reason").resolve("")
