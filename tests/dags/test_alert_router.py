"""The router's wiring, and what wakes it."""

import asyncio
import importlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException
from nightshift.notify import tell_late
from nightshift.operators.alerts import InboxTrigger, RouteOperator, inbox_asset
from nightshift.params import params, plan

from pipelines.operations.dispatch_alerts import dispatch
from pipelines.stores import open_inbox
from pipelines.stores.inbox import delivery_row

PROJECT = Path(__file__).resolve().parents[2]
EVERY = {"poll_s": 0.02, "recheck_s": 3600, "expires_s": 86_400}


@pytest.fixture
def trigger(settings):
    return InboxTrigger(ledger_url=settings.config.path(settings.config.ledger_url), **EVERY)


def deliver(settings, name="InputDrift", cause="drift"):
    alert = {"name": name, "status": "firing", "cause": cause, "severity": "warning", "labels": {"pod": "a"}}
    alert |= {"annotations": {"summary": "Look."}, "starts_at": None, "ends_at": None, "fingerprint": ""}
    row = delivery_row("json", "test", [alert], (name.encode(),), "", datetime.now(UTC))
    assert open_inbox(settings.config).deliver(row) == [True]


def events(trigger, seconds=0.6, meanwhile=lambda: None):
    """What it fires within a time; `meanwhile` is called after the first event."""

    async def collect():
        found = []
        try:
            async with asyncio.timeout(seconds):
                async for event in trigger.run():
                    found.append(event.payload)
                    if len(found) == 1:
                        meanwhile()
        except TimeoutError:
            return found

    return asyncio.run(collect())


def test_it_survives_being_written_down_and_read_again(trigger):
    path, arguments = trigger.serialize()
    assert path == "nightshift.operators.alerts.InboxTrigger"
    assert InboxTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


@pytest.mark.parametrize(
    ("path", "found"),
    [("nightshift.router.InboxTrigger", InboxTrigger), ("nightshift.notify.tell_late", tell_late)],
)
def test_paths_in_airflows_database_still_load(path, found):
    """Airflow keeps the paths of triggers and callbacks that an earlier version gave it."""
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name) is found


def test_nothing_came_nothing_fires(trigger):
    assert events(trigger) == []


def test_what_waits_fires_once_and_more_fires_again(trigger, settings):
    deliver(settings)
    assert events(trigger) == [{"waiting": 1}]
    assert events(trigger, meanwhile=lambda: deliver(settings, "Other")) == [{"waiting": 1}, {"waiting": 2}]


def test_after_a_restart_what_was_ruled_does_not_wait_any_more(trigger, settings):
    """The first look after a start still wakes the router: a run may have been ruled and not started."""
    deliver(settings)
    assert events(trigger, meanwhile=lambda: dispatch(settings.config)) == [{"waiting": 1}]
    again = InboxTrigger(**trigger.serialize()[1])
    assert events(again) == [{"waiting": 0}]


def test_what_may_still_fire_is_looked_at_again(settings):
    deliver(settings)
    dispatch(settings.config)
    url = settings.config.path(settings.config.ledger_url)
    found = events(InboxTrigger(ledger_url=url, **{**EVERY, "recheck_s": 0.2}))
    assert found[:2] == [{"waiting": 0}, {"waiting": 0}]
    assert events(InboxTrigger(ledger_url=url, **{**EVERY, "recheck_s": 0.2, "expires_s": 0})) == []


def test_the_router_is_woken_by_its_inbox():
    bag = DagBag(str(PROJECT / "dags"))
    dag = bag.dags["alert_router"]
    assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["nightshift_inbox"]
    assert dag.get_task("start").upstream_task_ids == {"route"}
    assert dag.get_task("start").partial_kwargs["skip_when_already_exists"] is True


def test_the_asset_watches_the_ledger_of_the_configuration(settings):
    (watcher,) = inbox_asset(settings).watchers
    assert watcher.trigger.ledger_url == f"sqlite:///{settings.home}/ledger.db"


def run(settings, body):
    """`route` with an interpreter that does as told; returns what it returns, and what it said."""
    settings.python.write_text(f"#!/bin/sh\n{body}\n")
    said = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: said.update({key: value}))
    dag_run = SimpleNamespace(dag_id="alert_router", run_id="r", conf=None)
    operator = RouteOperator(task_id="route", settings=settings)
    context = {"ti": ti, "dag_run": dag_run, "params": {}, "triggering_asset_events": {}}
    return lambda: operator.execute(context), said


def test_route_returns_the_runs_to_start_and_tells_people(settings):
    deliver(settings)
    deliver(settings, "Disk", "operations")
    execute, _ = run(settings, f'exec {sys.executable} "$@"')
    (start,) = execute()
    assert start["trigger_dag_id"] == "nightly_retrain"
    assert start["trigger_run_id"].startswith("alert__drift__")
    told = [json.loads(line) for line in (settings.home / "notices.jsonl").read_text().splitlines()]
    assert [notice["subject"] for notice in told] == ["Alert (operations): Disk"]
    assert told[0]["text"].splitlines()[-1] == "warning Disk | pod=a | Look."
    taken = params(settings.config)
    assert all(
        taken[name].resolve(start["conf"][name]) == start["conf"][name] for name in ("cause", "ruling")
    )
    night = plan(start["conf"], datetime(2026, 3, 2, 12, tzinfo=UTC))
    assert night.overrides == {"decide.cause": "alert:InputDrift", "decide.ruling": start["conf"]["ruling"]}


def test_a_router_that_breaks_says_why(settings):
    execute, said = run(settings, "echo 'fault: The sun shines. Wait for rain.' >&2; exit 2")
    with pytest.raises(AirflowFailException, match="The sun shines"):
        execute()
    assert said == {"fault": "The sun shines. Wait for rain."}
