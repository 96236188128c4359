"""The loop's own gauges, from the ledger's rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.core.config import Config
from pipelines.operations.watch.loop_metrics import HELP, loop_samples
from pipelines.stores import open_ledger

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def config(home):
    return Config(profile="test", home=str(home))


@pytest.fixture
def ledger(config):
    return open_ledger(config)


def gauges(ledger, config):
    samples = loop_samples(ledger, config, NOW)
    assert {sample.name for sample in samples} <= HELP.keys()
    return {(sample.name, *sorted(sample.labels.values())): sample.value for sample in samples}


def run(ledger, dag_id, run_id, began, ended=None, state="success"):
    ledger.add_task_event(dag_id, run_id, "task", 1, "running", NOW - timedelta(hours=began))
    if ended is not None:
        times = (NOW - timedelta(hours=began), NOW - timedelta(hours=ended))
        ledger.add_task_event(dag_id, run_id, "task", 1, state, *times)
        ledger.add_task_event(dag_id, run_id, "", 1, state, *times)


def test_an_empty_ledger_has_costs_of_nothing(ledger, config):
    assert gauges(ledger, config) == {
        ("nightshift_cpu_hours_30d",): 0.0,
        ("nightshift_gpu_hours_30d",): 0.0,
        ("nightshift_cpu_hours_budget_30d",): config.decide.budget_cpu_hours_30d,
        ("nightshift_gpu_hours_budget_30d",): config.decide.budget_gpu_hours_30d,
    }


def test_costs_and_nights_are_those_of_thirty_days(ledger, config):
    cost = {"step": "train", "seconds": 1.0, "gpu_seconds": 1800.0, "currency": "EUR"}
    for night, amount in (("2026-03-09", 2.0), ("2026-03-01", 3.0), ("2026-01-01", 50.0)):
        ledger.add_cost({**cost, "run_id": night, "night": night, "cpu_seconds": 3600.0, "amount": amount})
        document = {"run_id": night, "night": night, "outcome": "trained", "reasons": [], "facts": {}}
        ledger.add_decision({**document, "evidence": {}}, "signature")
    found = gauges(ledger, config)
    assert found["nightshift_cost_30d", "EUR"] == 5.0
    assert found["nightshift_cpu_hours_30d",] == 2.0
    assert found["nightshift_gpu_hours_30d",] == 1.0
    assert found["nightshift_nights_30d", "trained"] == 2


def test_runs_are_open_until_the_event_that_names_no_task(ledger, config):
    run(ledger, "nightly_retrain", "first", began=30, ended=28)
    run(ledger, "nightly_retrain", "second", began=5, ended=4.5, state="failed")
    run(ledger, "nightly_retrain", "third", began=3)
    run(ledger, "rollback", "only", began=1, ended=0.5)
    found = gauges(ledger, config)
    assert found["nightshift_dag_open_seconds", "nightly_retrain"] == 3 * 3600
    assert found["nightshift_dag_open_seconds", "rollback"] == 0
    assert found["nightshift_dag_run_seconds", "nightly_retrain"] == 1800
    ends = "nightshift_dag_last_end_timestamp_seconds"
    assert found[ends, "nightly_retrain", "success"] == (NOW - timedelta(hours=28)).timestamp()
    assert found[ends, "failed", "nightly_retrain"] == (NOW - timedelta(hours=4.5)).timestamp()
