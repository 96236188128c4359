"""The history of Airflow's tasks and runs: one row a change of state."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def task_event_row(
    dag_id: str,
    run_id: str,
    task_id: str,
    try_number: int,
    state: str,
    started_at: datetime | None,
    ended_at: datetime | None,
    message: str,
) -> dict[str, Any]:
    """The row of a task's change of state, or of a run's (empty `task_id`)."""
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "try_number": try_number,
        "state": state,
        "started_at": started_at.isoformat() if started_at else None,
        "ended_at": ended_at.isoformat() if ended_at else None,
        "message": message,
    }
