"""
# Feature sync

Keeps the online feature store right between nights. It compares a sample of what services read online with
the offline files, fills the online store with the newest night's rows, and sees how old they are.

**Runs** on `features.sync_schedule` (hourly), or by hand. While a night writes features, it waits. Each night
makes the same comparison for itself, and is held where it fails.

**What it finds.** An online store that lost its data or holds other values: it is filled again, and the note
says what was wrong. Values that stay wrong. Features older than `features.max_age_hours`, because nights do
not end. Before the first night it has nothing to do.

**Reading the grid.** The task succeeds whatever it found, and its note says what. It fails where the online
store, the registry or the files cannot be reached.

**What it leaves.** Metrics at `watch.pushgateway` where that is set: Prometheus' rules raise `FeaturesSkewed`
and `FeaturesStale` on them. It starts no other DAG.
"""

from __future__ import annotations

from airflow.sdk import DAG

from nightshift.dag import common, cron
from nightshift.operators.watch import FeatureSyncOperator
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()

with DAG(
    "feature_sync",
    doc_md=__doc__,
    description="An hourly look at the feature store",
    schedule=cron(SETTINGS.config.features.sync_schedule),
    tags=["nightshift", "alerts"],
    **common(SETTINGS),
):
    FeatureSyncOperator(task_id="sync", settings=SETTINGS)
