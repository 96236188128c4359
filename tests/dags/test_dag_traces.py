"""Which trace a run belongs to, and that its commands are told."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from nightshift.operators.step import StepOperator
from nightshift.traces import TRACEPARENT, traceparent

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def context_of(conf=None, run_id="r", events=(), pulled=None):
    """A run's context; `pulled` is what the runs behind its events left."""
    asked = []
    ti = SimpleNamespace(
        xcom_pull=lambda **place: asked.append(place) or pulled, xcom_push=lambda *_, **__: None
    )
    dag_run = SimpleNamespace(
        dag_id="promote", run_id=run_id, conf=conf, run_after=datetime(2026, 1, 4, tzinfo=UTC)
    )
    woken = {"nightshift_candidate": [SimpleNamespace(extra={}, **event) for event in events]}
    return {"ti": ti, "dag_run": dag_run, "params": {}, "triggering_asset_events": woken, "asked": asked}


def test_a_given_trace_is_kept():
    assert traceparent(context_of({TRACEPARENT: GIVEN})) == GIVEN


def test_a_rollout_continues_the_trace_of_its_night():
    night = {"source_dag_id": "nightly_retrain", "source_run_id": "n1"}
    context = context_of(events=[night], pulled=GIVEN)
    assert traceparent(context) == GIVEN
    place = {"dag_id": "nightly_retrain", "run_id": "n1", "task_ids": "record", "key": TRACEPARENT}
    assert context["asked"] == [place]


@pytest.mark.parametrize("wrong", [None, "", 7, "nonsense", GIVEN + "\n", GIVEN.upper(), f"00-{'0' * 32}-1"])
def test_otherwise_a_run_has_a_trace_of_its_own(wrong):
    by_hand = {"source_dag_id": None, "source_run_id": None}
    made = traceparent(context_of({TRACEPARENT: wrong}, events=[by_hand]))
    assert made == traceparent(context_of())
    assert made != traceparent(context_of(run_id="another"))
    assert traceparent(context_of({TRACEPARENT: made})) == made  # it is a valid one


def test_the_command_is_told(settings, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", "of-whoever-started-airflow")
    script = settings.home / "spy"
    script.write_text(f'#!/bin/sh\necho "$TRACEPARENT" > {settings.home}/told\nexec {settings.python} "$@"\n')
    script.chmod(0o755)
    with DAG("night"):
        step = StepOperator(task_id="ingest", settings=replace(settings, python=script))
    step.execute(context_of({TRACEPARENT: GIVEN}))
    assert (settings.home / "told").read_text() == f"{GIVEN}\n"
