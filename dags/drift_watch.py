"""
# Drift watch

Compares live traffic, from the gateway's journal, with earlier traffic. It answers: did questions or answers
change? Do people dislike more answers? Are there errors, slow answers, stale features?

**Runs** on `watch.schedule` (hourly), or by hand. Each run takes the last `watch.window_h` hours. It compares
questions with the traffic that the production adapter was trained on, and answers with the first answers of
the same adapter.

**Error rate.** A day without any change has a false alarm with probability `watch.alpha_day` at most: each
run gets its share of it, and corrects for the number of columns (Holm). With too few rows a run cannot
conclude, and raises no alarm.

**Reading the grid.** The task succeeds whatever it found. Its note says what moved, or what it could not
conclude.

**What it leaves.** A row in the ledger (`watches`), a report under `watch/` of the home, and metrics at
`watch.pushgateway` where that is set. It starts no other DAG: Prometheus' rules raise alerts on the metrics,
and `alert_router` decides on them.
"""

from __future__ import annotations

from airflow.sdk import DAG

from nightshift.dag import common, cron
from nightshift.operators.watch import WatchOperator
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()

with DAG(
    "drift_watch",
    doc_md=__doc__,
    description="An hourly look at live traffic",
    schedule=cron(SETTINGS.config.watch.schedule),
    tags=["nightshift", "alerts"],
    **common(SETTINGS),
):
    WatchOperator(task_id="watch", settings=SETTINGS)
