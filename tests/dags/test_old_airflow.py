"""What Airflow stored for version 0.1 still loads: trigger, callbacks, serialised DAGs."""

import importlib
import json
from pathlib import Path

import pytest
from airflow.serialization.serialized_objects import DagSerialization

STORED = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "home_v0_1" / "airflow_serialized.json").read_text()
)["parsed"]
TRIGGERS = STORED["plugin_tables"]["trigger"]


def load(path):
    """The class or function at a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("row", TRIGGERS, ids=lambda row: row["classpath"])
def test_a_stored_trigger_loads_with_its_arguments(row):
    trigger = load(row["classpath"])(**row["kwargs"])
    assert trigger.serialize() == ("nightshift.operators.alerts.InboxTrigger", row["kwargs"])


def test_a_stored_deadline_callback_loads():
    assert "nightshift.notify.tell_late" in STORED["dotted_paths"]
    assert callable(load("nightshift.notify.tell_late"))


@pytest.mark.parametrize("dag_id", STORED["serialized_dag"])
def test_a_stored_dag_is_read(dag_id):
    dag = DagSerialization.from_dict(STORED["serialized_dag"][dag_id])
    assert dag.dag_id == dag_id
    assert dag.task_dict
