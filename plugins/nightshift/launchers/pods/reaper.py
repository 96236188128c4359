"""Ends pods whose task is over: what is left when nobody watches a pod at the moment its task ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nightshift.launchers.pods.document import INSTANCE, Owner, owner_of
from nightshift.launchers.pods.operator import CommandPod
from pipelines.core.config import Pods


def reap(pods: Pods, instance: str, is_over: Callable[[Owner], bool]) -> Iterator[str]:
    """End an installation's pods whose task is over; a sentence for each, once it is told to end.

    Raises ApiException or HTTPError where Kubernetes cannot be asked.
    """
    task = CommandPod(pods=pods)
    for pod in task.labelled(f"{INSTANCE}={instance}"):
        name, owner = pod["metadata"]["name"], owner_of(pod["metadata"]["annotations"])
        if pod["metadata"].get("deletionTimestamp") or not is_over(owner):
            continue
        task.remove(name, pods.kill_grace_s)
        yield f"{name}, of {owner.task_id} in run {owner.run_id} of {owner.dag_id}"
