"""
# Alert router

Rules on the alerts that came in, and starts what they call for: at most one run per cause.

**Runs** when a delivery waits in the ledger's inbox (a watcher looks every `alerts.poll_s` seconds), and
every `alerts.recheck_s` while alerts may still fire, for what waits. By hand it is safe at any time.

**Each cause** is ruled on as a whole, however many alerts came: a data fault calls a person and holds
training; drift and falling quality start `nightly_retrain`; a serving regression shortly after a promotion
starts `rollback`; overload asks for capacity; anything else calls a person. Silences, k-of-n windows and
cool-downs are the section `[alerts]`; `.venv/bin/python -m pipelines alerts-list` shows what fires and what
was ruled.

**Reading the grid.** `route` writes the rulings, with reasons, into the ledger, then tells people (section
`[notify]`). `start` is one task a run; it is skipped where nothing is to be started, or where the run exists.
A ruling comes before its run, whose id is made from it: killed between the two, nothing is lost, and nothing
runs twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from nightshift.notify import tell_failed
from nightshift.operators.alerts import RouteOperator, inbox_asset
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()

with DAG(
    "alert_router",
    doc_md=__doc__,
    description="From alerts to at most one run per cause",
    schedule=[inbox_asset(SETTINGS)],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=tell_failed,
    tags=["nightshift", "alerts"],
    default_args={
        "owner": "nightshift",
        "retries": 1,
        "retry_delay": timedelta(seconds=2),
        "execution_timeout": timedelta(seconds=SETTINGS.config.step_timeout_s),
    },
):
    route = RouteOperator(task_id="route", settings=SETTINGS)
    TriggerDagRunOperator.partial(
        task_id="start", logical_date=None, skip_when_already_exists=True
    ).expand_kwargs(route.output)
