"""The loop that moves the cluster on after each change: it schedules, starts, syncs Jobs and cleans up."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from functools import partial

from tests.support.kubernetes import admission, jobs, scheduler
from tests.support.kubernetes.deleting import FOREGROUND, delete, dependents
from tests.support.kubernetes.kubelet import PodWorker
from tests.support.kubernetes.podstatus import set_condition
from tests.support.kubernetes.preemption import make_room
from tests.support.kubernetes.resources import BY_PLURAL, JOBS, NAMESPACES, PODS, Resource
from tests.support.kubernetes.starting import Node
from tests.support.kubernetes.status import ApiError
from tests.support.kubernetes.store import Thing

LEAVING_S = 1.0
QUOTAS = BY_PLURAL["resourcequotas"]


class Controller(threading.Thread):
    """One thread; `workers` holds the thread of each pod by UID."""

    def __init__(
        self,
        node: Node,
        resources: list[Resource],
        workers: dict[str, PodWorker],
        admit: Callable[[Thing], None],
    ) -> None:
        super().__init__(name="controller", daemon=True)
        self.store, self.node, self.resources, self.admit = node.store, node, resources, admit
        self.workers = workers
        self.ended = threading.Event()
        self.scheduling = threading.Event()
        self.scheduling.set()
        self.error: BaseException | None = None
        self._addresses = (f"10.244.0.{number}" for number in itertools.cycle(range(2, 255)))
        self._collected = 0
        self._leaving: dict[str, float] = {}  # terminating namespace -> when its content goes

    def run(self) -> None:
        seen = -1
        try:
            while not self.ended.is_set():
                with self.store.changed:
                    if self.store.version == seen:
                        self.store.changed.wait(0.5)
                    seen = self.store.version
                self._pass()
        except BaseException as error:  # noqa: BLE001 - the test that uses the double raises it
            self.error = error

    def _pass(self) -> None:
        pods = self.store.all(PODS)
        pods.sort(key=lambda pod: -pod["spec"].get("priority", 0))  # a queue of the scheduler
        for pod in pods:
            self._move(pod)
        for job in self.store.all(JOBS):
            self._unless_gone(partial(jobs.sync, self.store, job, self.admit))
        for quota in self.store.all(QUOTAS):
            self._unless_gone(partial(self._count, quota))
        self._collect_garbage()
        for namespace in self.store.all(NAMESPACES):
            if "deletionTimestamp" in namespace["metadata"]:
                self._empty(namespace["metadata"]["name"])

    def _count(self, quota: Thing) -> None:
        status = admission.quota_status(self.store, quota)
        metadata = quota["metadata"]
        self.store.update(
            QUOTAS, metadata["namespace"], metadata["name"], lambda one: one.update(status=status)
        )

    def _unless_gone(self, do: Callable[[], object]) -> None:
        try:
            do()
        except ApiError as error:
            if error.code != 404:
                raise

    def _move(self, pod: Thing) -> None:
        uid, metadata = pod["metadata"]["uid"], pod["metadata"]
        if metadata.get("deletionGracePeriodSeconds") == 0 and not metadata.get("finalizers"):
            self._unless_gone(lambda: self.store.remove(PODS, metadata["namespace"], metadata["name"]))
            return
        if pod["status"]["phase"] in scheduler.OVER or uid in self.workers:
            return
        if pod["spec"].get("nodeName"):
            worker = PodWorker(self.node, pod, next(self._addresses))
            self.workers[uid] = worker
            worker.start()
        elif pod["spec"].get("schedulingGates"):
            text = "Scheduling is blocked due to non-empty scheduling gates"
            self._unless_gone(
                lambda: self.store.update(
                    PODS, metadata["namespace"], metadata["name"],
                    lambda one: set_condition(one, "PodScheduled", "False", "SchedulingGated", text),
                )
            )  # fmt: skip
        elif self.scheduling.is_set() and pod["spec"]["schedulerName"] == scheduler.SCHEDULER:
            self._unless_gone(partial(self._schedule, pod))

    def _schedule(self, pod: Thing) -> None:
        if not scheduler.schedule(self.store, pod):
            make_room(self.store, pod)

    def _collect_garbage(self) -> None:
        changes = self.store.since(self._collected)
        for change in changes:
            if change.type == "DELETED" or FOREGROUND in (change.after["metadata"].get("finalizers") or []):
                self._delete_dependents(change.after["metadata"]["uid"])
        self._collected = changes[-1].version if changes else self._collected
        for resource in self.resources:
            for thing in self.store.all(resource):
                if FOREGROUND in (thing["metadata"].get("finalizers") or []):
                    self._finish_foreground(resource, thing)

    def _delete_dependents(self, uid: str) -> None:
        for resource, thing in dependents(self.store, uid, self.resources):
            if "deletionTimestamp" not in thing["metadata"]:
                self._remove(resource, thing)

    def _remove(self, resource: Resource, thing: Thing) -> None:
        metadata = thing["metadata"]
        namespace = metadata.get("namespace", "")
        self._unless_gone(lambda: delete(self.store, resource, namespace, metadata["name"], {}))

    def _finish_foreground(self, resource: Resource, thing: Thing) -> None:
        metadata = thing["metadata"]
        if not dependents(self.store, metadata["uid"], self.resources):
            self._unless_gone(
                lambda: self.store.remove(resource, metadata.get("namespace", ""), metadata["name"])
            )

    def _empty(self, name: str) -> None:
        """Delete what a terminating namespace holds; remove it when nothing is left."""
        if time.monotonic() < self._leaving.setdefault(name, time.monotonic() + LEAVING_S):
            return
        left = [
            (resource, thing)
            for resource in self.resources
            if resource.namespaced
            for thing in self.store.all(resource, name)
        ]
        for resource, thing in left:
            if "deletionTimestamp" not in thing["metadata"]:
                self._remove(resource, thing)
        if not left:
            self._unless_gone(lambda: self.store.remove(NAMESPACES, "", name))
