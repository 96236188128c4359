"""
# Pod reaper

Ends pods whose task is over. Such a pod is left when a worker dies between the end of a pod and its removal,
or when a person ends a task just then. It would hold its accelerator until its own deadline.

**Runs** on `pods.reaper_schedule` (every 5 minutes), or by hand. Only with `launcher = "pod"` there is such
a DAG.

**What it ends.** Pods that carry this installation's label, and whose task succeeded, failed or was skipped,
or whose run was deleted. A pod of a task that runs, waits or is to be tried again stays: the next try takes
it up.

**Reading the grid.** The run's note says which pods were ended. They get `pods.kill_grace_s` seconds.
"""

from __future__ import annotations

from airflow.sdk import DAG

from nightshift.dag import common, cron
from nightshift.operators.reaper import ReapOperator
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()

if SETTINGS.config.launcher == "pod":
    with DAG(
        "pod_reaper",
        doc_md=__doc__,
        description="Ends pods that nobody waits for",
        schedule=cron(SETTINGS.config.pods.reaper_schedule),
        tags=["nightshift"],
        **common(SETTINGS),
    ):
        ReapOperator(task_id="reap", settings=SETTINGS)
