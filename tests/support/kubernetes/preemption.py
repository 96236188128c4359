"""Room for a pod of higher priority: pods of lower priority are told and deleted."""

from __future__ import annotations

from tests.support.kubernetes.deleting import delete
from tests.support.kubernetes.podstatus import set_condition
from tests.support.kubernetes.recorder import record
from tests.support.kubernetes.resources import NODES, PODS
from tests.support.kubernetes.scheduler import OVER, SCHEDULER, misfits
from tests.support.kubernetes.store import Store, Thing

MESSAGE = f"{SCHEDULER}: preempting to accommodate a higher priority pod"


def make_room(store: Store, pod: Thing) -> None:
    """Preempt on the first node where that helps; a node on which a pod already leaves is waited for."""
    if pod["spec"].get("preemptionPolicy") == "Never":
        return
    for node in store.all(NODES):
        victims = _victims(store, pod, node)
        if any("deletionTimestamp" in victim["metadata"] for victim in victims):
            return
        if victims:
            for victim in victims:
                preempt(store, victim, f"Preempted by pod {pod['metadata']['uid']}")
            return


def _victims(store: Store, pod: Thing, node: Thing) -> list[Thing]:
    """The fewest pods, lowest priority first, without which the node takes the pod; empty where none help."""
    lower = [
        one
        for one in store.all(PODS)
        if one["spec"].get("nodeName") == node["metadata"]["name"]
        and one["status"]["phase"] not in OVER
        and one["spec"]["priority"] < pod["spec"]["priority"]
    ]
    lower.sort(key=lambda one: one["spec"]["priority"])
    for count in range(1, len(lower) + 1):
        uids = frozenset(one["metadata"]["uid"] for one in lower[:count])
        if not misfits(store, pod, node, uids):
            return lower[:count]
    return []


def preempt(store: Store, victim: Thing, by: str) -> None:
    """Mark the pod as disrupted, say so in an event, and delete it with its grace period."""
    namespace, name = victim["metadata"]["namespace"], victim["metadata"]["name"]

    def mark(pod: Thing) -> None:
        set_condition(pod, "DisruptionTarget", "True", "PreemptionByScheduler", MESSAGE)

    pod = store.update(PODS, namespace, name, mark)
    record(store, pod, "Preempted", f"{by} on node {pod['spec'].get('nodeName', '')}", source=SCHEDULER)
    delete(store, PODS, namespace, name, {})
