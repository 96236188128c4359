"""What all of Nightshift's DAGs have in common."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from nightshift.notify import tell_failed, tell_late
from nightshift.settings import Settings


def common(settings: Settings, retry_delay_s: float = 10.0) -> dict[str, Any]:
    """Arguments of every DAG: one run at a time, no catch-up, people hear of a failed run."""
    return {
        "start_date": datetime(2026, 1, 1),
        "catchup": False,
        "max_active_runs": 1,
        "on_failure_callback": tell_failed,
        "default_args": default_args(settings, retry_delay_s),
    }


def default_args(settings: Settings, retry_delay_s: float) -> dict[str, Any]:
    """Arguments of every task. A fault of the machine is retried once; an error to act on never is."""
    return {
        "owner": "nightshift",
        "retries": 1,
        "retry_delay": timedelta(seconds=retry_delay_s),
        "execution_timeout": timedelta(seconds=settings.config.step_timeout_s),
    }


def cron(expression: str) -> CronTriggerTimetable | None:
    """The schedule of a cron expression in UTC; None for an empty one."""
    return CronTriggerTimetable(expression, timezone="UTC") if expression else None


def late_after(seconds: float) -> DeadlineAlert:
    """People hear of a run that has not ended this long after it was queued."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=seconds),
        callback=SyncCallback(tell_late),
    )
