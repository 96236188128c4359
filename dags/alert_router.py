"""
# Alert router

Decides what the alerts that came in call for, and starts it: at most one run per cause.

**Runs** when a delivery waits in the ledger's inbox (a watcher looks every `alerts.poll_s` seconds), and
every `alerts.recheck_s` seconds while an alert may still fire. Starting it by hand is safe at any time.

**One decision per cause**, however many alerts came:

| cause | what happens |
|---|---|
| `data_fault` | people are told, and training is held |
| `drift`, `quality` | `nightly_retrain` starts |
| `serving` | `rollback` starts, if the alert began shortly after a promotion; otherwise people are told |
| `overload` | people are asked for more capacity |
| any other | people are told |

Silences, k-of-n windows and cool-downs are in the section `[alerts]`. `nightshift alerts-list` shows what
fires and what was decided.

**Reading the grid.** `route` writes each decision with its reason into the ledger, then tells people (section
`[notify]`). `start` has one mapped task per run to start. It is skipped where nothing starts, or where the
run exists already.

**After a kill** nothing is lost and nothing runs twice: a decision is in the ledger before its run starts,
and the run's id is made from the decision.
"""

from __future__ import annotations

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from nightshift.dag import common
from nightshift.operators.alerts import RouteOperator, inbox_asset
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()

with DAG(
    "alert_router",
    doc_md=__doc__,
    description="From alerts to at most one run per cause",
    schedule=[inbox_asset(SETTINGS)],
    tags=["nightshift", "alerts"],
    **common(SETTINGS, retry_delay_s=2),
):
    route = RouteOperator(task_id="route", settings=SETTINGS)
    TriggerDagRunOperator.partial(
        task_id="start", logical_date=None, skip_when_already_exists=True
    ).expand_kwargs(route.output)
