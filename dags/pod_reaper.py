"""
# Pod reaper

Ends pods whose task is over. Such a pod is left when a person ends a task at a moment at which nobody watches
its pod, or when a worker dies at a bad one. It would hold its accelerator until its own deadline.

**Runs** when a pod was left over. A watcher in the triggerer looks every `pods.reaper_poll_s` seconds and
ends such pods at once; the run writes down which. Started by hand, it looks for some itself. Only with
`launcher = "pod"` there is such a DAG.

**What is ended.** Pods that carry this installation's label, and whose task succeeded, failed or was skipped,
or whose run was deleted. A pod of a task that runs, waits or is to be tried again stays: the next try takes
it up.

**Reading the grid.** The run's note says which pods were ended. They get `pods.kill_grace_s` seconds.
"""

from __future__ import annotations

from airflow.sdk import DAG

from nightshift.dag import common
from nightshift.operators.reaper import ReapOperator, leftover_asset
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()

if SETTINGS.config.launcher == "pod":
    with DAG(
        "pod_reaper",
        doc_md=__doc__,
        description="Ends pods that nobody waits for",
        schedule=[leftover_asset(SETTINGS)],
        tags=["nightshift"],
        **common(SETTINGS),
    ):
        ReapOperator(task_id="reap", settings=SETTINGS)
