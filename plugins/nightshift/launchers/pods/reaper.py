"""Ends pods whose task is over: what is left when a worker dies at a bad moment."""

from __future__ import annotations

from collections.abc import Callable

from nightshift.launchers import Log
from nightshift.launchers.pods.document import INSTANCE, Owner, instance, owner_of
from nightshift.launchers.pods.operator import CommandPod
from nightshift.settings import Settings


def reap(settings: Settings, is_over: Callable[[Owner], bool], log: Log) -> list[str]:
    """End this installation's pods whose task is over. Returns what ended, a sentence each."""
    task = CommandPod(pods=settings.config.pods)
    ended = []
    for pod in task.labelled(f"{INSTANCE}={instance(settings.config)}"):
        name, owner = pod["metadata"]["name"], owner_of(pod["metadata"]["annotations"])
        if pod["metadata"].get("deletionTimestamp") or not is_over(owner):
            continue
        task.remove(name, settings.config.pods.kill_grace_s)
        ended.append(f"{name}, of {owner.task_id} in run {owner.run_id} of {owner.dag_id}")
        log.info("ended pod %s", ended[-1])
    return ended
