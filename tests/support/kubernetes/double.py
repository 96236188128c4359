"""The double as tests hold it: its kubeconfig, its nodes and images, and faults on demand."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.kubernetes.deleting import delete
from tests.support.kubernetes.images import Image
from tests.support.kubernetes.kubelet import PodWorker
from tests.support.kubernetes.machine import Machine
from tests.support.kubernetes.podstatus import set_condition
from tests.support.kubernetes.preemption import preempt
from tests.support.kubernetes.recorder import record
from tests.support.kubernetes.resources import BUILT_IN, NODES, PODS, Resource
from tests.support.kubernetes.store import Thing, now

PLAIN = Image()
SHELL = {"busybox": PLAIN, "debian": PLAIN, "python": PLAIN}
BIG = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110"}


class Kubernetes:
    """A running double. `kubeconfig` is the file that every client takes."""

    def __init__(self, folder: Path, images: Mapping[str, Image], resources: list[Resource]) -> None:
        self.folder = folder
        self.images: dict[str, Image] = {**SHELL, **images}
        self._machine = Machine(folder, self.images, resources)
        self.store = self._machine.store
        self.kubeconfig = self._machine.write_kubeconfig("kubeconfig", "")

    def start(self) -> None:
        for name in ("default", "kube-system"):
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name, value in (("system-cluster-critical", 2000000000), ("system-node-critical", 2000001000)):
            head = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
            self.create({**head, "metadata": {"name": name}, "value": value})
        self._machine.start()

    def stop(self) -> None:
        """End every process. Raises what went wrong inside the double."""
        self._machine.stop()

    @property
    def url(self) -> str:
        return self._machine.server.url

    @property
    def requests(self) -> list[str]:
        """`METHOD /path?query` of every request so far."""
        return self._machine.server.requests

    def kubeconfig_of(self, namespace: str, account: str) -> Path:
        """A kubeconfig of a service account, which may do what stored roles and bindings allow."""
        user = f"system:serviceaccount:{namespace}:{account}"
        return self._machine.write_kubeconfig(f"kubeconfig-{namespace}-{account}", user)

    # Objects, without a client ---------------------------------------------------------------------

    def create(self, thing: Thing) -> Thing:
        """Store an object as the API does, with all its checks."""
        resource = next(
            one
            for one in self._machine.api.resources
            if (one.api_version, one.kind) == (thing["apiVersion"], thing["kind"])
        )
        return self._machine.api.writer.create(
            resource, thing.get("metadata", {}).get("namespace", "default"), thing
        )

    def pods(self, namespace: str = "") -> list[Thing]:
        return self.store.all(PODS, namespace)

    def pod(self, name: str, namespace: str = "default") -> Thing:
        return self.store.get(PODS, namespace, name)

    def wait_for(self, name: str, phase: str, namespace: str = "default", timeout_s: float = 60) -> Thing:
        """The pod once it is in this phase."""

        def found() -> Thing | None:
            pod = self.store.find(PODS, namespace, name)
            return pod if pod and pod["status"]["phase"] == phase else None

        return self.wait(found, timeout_s)

    def wait(self, found: Callable[[], Any], timeout_s: float = 60) -> Any:
        """What `found` returns once that is true; it is asked after each change."""
        until = time.monotonic() + timeout_s
        with self.store.changed:
            while not (result := found()):
                if time.monotonic() > until:
                    raise TimeoutError(f"still {result!r} after {timeout_s:g} s")
                self.store.changed.wait(0.2)
        return result

    def add_node(
        self, name: str, capacity: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None,
        taints: list[dict[str, str]] | None = None,
    ) -> None:  # fmt: skip
        """A node with so much room (`{"nvidia.com/gpu": "1"}` beside plenty of everything else)."""
        has = {**BIG, **(capacity or {})}
        thing: Thing = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
            "spec": {"taints": list(taints)} if taints else {},
        }
        self.create(thing)

        def ready(node: Thing) -> None:
            node["status"] = {"capacity": has, "allocatable": has, "nodeInfo": _NODE_INFO}
            set_condition(node, "Ready", "True", "KubeletReady", "kubelet is posting ready status")

        self.store.update(NODES, "", name, ready)

    # Faults ----------------------------------------------------------------------------------------

    def _worker(self, name: str, namespace: str) -> PodWorker:
        uid = self.pod(name, namespace)["metadata"]["uid"]
        return self.wait(lambda: self._machine.workers.get(uid), 10)

    def evict(self, name: str, message: str, namespace: str = "default") -> None:
        """The kubelet evicts the pod: phase Failed, reason Evicted."""
        worker = self._worker(name, namespace)
        record(self.store, self.pod(name, namespace), "Evicted", message, "Warning")
        worker.fail("Evicted", message, ("TerminationByKubelet", message))

    def preempt(self, name: str, namespace: str = "default") -> None:
        """The scheduler takes the pod away for one of higher priority: marks it, deletes it with grace."""
        preempt(self.store, self.pod(name, namespace), "Preempted by a pod of higher priority")

    def node_lost(self, node: str, phase_unknown: bool = False) -> None:
        """The node's machine dies: its processes end, its pods are marked, deleted, and at last removed.

        `phase_unknown`: also set phase Unknown and reason NodeLost, as servers did before 1.26.
        """

        def lost(thing: Thing) -> None:
            set_condition(
                thing, "Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."
            )
            for effect in ("NoSchedule", "NoExecute"):
                taint = {"key": "node.kubernetes.io/unreachable", "effect": effect, "timeAdded": now()}
                thing["spec"].setdefault("taints", []).append(taint)

        self.store.update(NODES, "", node, lost)
        mine = [pod for pod in self.pods() if pod["spec"].get("nodeName") == node]
        for pod in mine:
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            worker = self._worker(name, namespace)
            worker.lost.set()
            worker.join(10)
            if pod["status"]["phase"] in ("Succeeded", "Failed"):
                continue
            self.store.update(PODS, namespace, name, lambda one: _unreachable(one, node, phase_unknown))
            text = f"Marking for deletion Pod {namespace}/{name}"
            record(self.store, pod, "TaintManagerEviction", text, source="taint-eviction-controller")
            self._disrupt(name, namespace, "DeletionByTaintManager",
                          "Taint manager: deleting due to NoExecute taint")  # fmt: skip
            delete(self.store, PODS, namespace, name, {})
            self.store.remove(PODS, namespace, name)

    def _disrupt(self, name: str, namespace: str, reason: str, message: str) -> None:
        self.store.update(
            PODS, namespace, name, lambda pod: set_condition(pod, "DisruptionTarget", "True", reason, message)
        )

    def oom(self, name: str, container: str = "", namespace: str = "default") -> None:
        """The kernel kills the (first) container for its memory."""
        worker = self._worker(name, namespace)
        worker.oom(container or worker.mains[0].name)

    def delete(self, name: str, namespace: str = "default", grace_s: int | None = None) -> None:
        """Somebody deletes the pod."""
        delete(self.store, PODS, namespace, name, {"gracePeriodSeconds": grace_s})

    def hold_scheduling(self) -> None:
        """New pods stay Pending without a word, until `release_scheduling`."""
        self._machine.controller.scheduling.clear()

    def release_scheduling(self) -> None:
        self._machine.controller.scheduling.set()
        with self.store.changed:
            self.store.changed.notify_all()

    def refuse(self, webhook: str, message: str, plural: str = "pods") -> None:
        """An admission webhook refuses every new object of this kind."""
        self._machine.api.faults.refusals.append((webhook, message, re.compile(plural)))

    def api_errors(self, count: int, status: int = 500, match: str = "") -> None:
        """Answer the next `count` (-1: all) requests whose `METHOD /path?query` matches with this status."""
        self._machine.api.faults.plan(match, count, status)

    def lose_answers(self, count: int, match: str = "") -> None:
        """Do what the next requests that match ask for, and answer 504, as a proxy that lost the answer."""
        self._machine.api.faults.plan(match, count, 504, late=True)

    def slow(self, seconds: float, count: int = -1, match: str = "") -> None:
        """The next requests that match wait so long first."""
        self._machine.api.faults.plan(match, count, seconds=seconds)

    def mend(self) -> None:
        """Take back refusals, planned errors and slowness."""
        self._machine.api.faults.clear()

    def cut_watches(self) -> None:
        """Break off every open watch and log stream."""
        self._machine.api.faults.cuts += 1
        with self.store.changed:
            self.store.changed.notify_all()

    def compact(self) -> None:
        """Make all resource versions so far too old (410)."""
        self.store.compact()

    def log_gap(self, name: str, container: str = "", namespace: str = "default") -> None:
        """The log so far is lost and open streams of it end, as rotation at a bad moment does."""
        worker = self._worker(name, namespace)
        one = next(one for one in worker.records if one.name == (container or worker.mains[0].name))
        if one.log:
            one.log.rotate()

    def peak_bytes(self, name: str, namespace: str = "default") -> int:
        """The most memory that a running container with a limit used."""
        return max(one.process.peak_bytes for one in self._worker(name, namespace).records if one.process)


_NODE_INFO = {
    "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "containerd://2.1.0",
    "kernelVersion": "6.1.0",    "kubeProxyVersion": "", "kubeletVersion": "v1.37.0", "machineID": "",
    "operatingSystem": "linux",
    "osImage": "a process on this machine", "systemUUID": "",
}  # fmt: skip


def _unreachable(pod: Thing, node: str, phase_unknown: bool) -> None:
    set_condition(pod, "Ready", "False")
    if phase_unknown:
        name = pod["metadata"]["name"]
        text = f"Node {node} which was running pod {name} is unresponsive"
        pod["status"] |= {"phase": "Unknown", "reason": "NodeLost", "message": text}


@contextmanager
def running_kubernetes(
    images: Mapping[str, Image] | None = None, nodes: Mapping[str, Mapping[str, str]] | None = None,
    custom: list[Resource] | None = None,
) -> Iterator[Kubernetes]:  # fmt: skip
    """A running double. `nodes`: name -> capacity beside plenty of everything; by default one without GPU."""
    with TemporaryDirectory(prefix="kubernetes-") as folder:
        double = Kubernetes(Path(folder), images or {}, [*BUILT_IN, *(custom or [])])
        double.start()
        try:
            for name, capacity in ({"node-1": {}} if nodes is None else nodes).items():
                double.add_node(name, capacity)
            yield double
        finally:
            double.stop()
