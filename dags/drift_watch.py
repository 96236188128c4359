"""
# Drift watch

Looks at live traffic, as the gateway's journal holds it: did questions or answers change, do people dislike
more answers, are there errors, slow answers, stale features?

**Runs** on `watch.schedule` (hourly), or by hand. Each look takes the last `watch.window_h` hours. Questions
are compared with the traffic that the production adapter learned from, answers with the first that the same
adapter gave.

**How sure.** The alarms of a look hold over all its columns together (Holm), and each look gets its share of
`watch.alpha_day`: at most that share of days without any change has a false alarm. Too few rows are no
answer, and never an alarm.

**Reading the grid.** The task succeeds whatever it saw; its note says what moved, or what could not be
concluded. Each look writes a row into the ledger (`watches`) and a report under `watch/` of the home, and
pushes its numbers to `watch.pushgateway` where that is set. It starts nothing by itself: Prometheus' rules
raise the alerts, and `alert_router` decides.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from nightshift.notify import tell_failed
from nightshift.operators.watch import WatchOperator
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()
CRON = SETTINGS.config.watch.schedule

with DAG(
    "drift_watch",
    doc_md=__doc__,
    description="An hourly look at live traffic",
    schedule=CronTriggerTimetable(CRON, timezone="UTC") if CRON else None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=tell_failed,
    tags=["nightshift", "alerts"],
    default_args={
        "owner": "nightshift",
        "retries": 1,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(seconds=SETTINGS.config.step_timeout_s),
    },
):
    WatchOperator(task_id="watch", settings=SETTINGS)
