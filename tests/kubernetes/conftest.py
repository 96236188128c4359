"""One suite for the double and, where KUBECONFIG is set, for a real cluster. CONTRIBUTING.md says how."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import kubernetes
import pytest

from tests.kubernetes.clients import Async, Client, Kubectl, Refused, Sync, Thing
from tests.support.kubernetes import Kubernetes, running_kubernetes

IMAGE = os.environ.get("NIGHTSHIFT_TEST_IMAGE", "busybox:1.37")
NO_IMAGE = "nightshift.invalid/none:1"
PATIENCE_S = 180 if "KUBECONFIG" in os.environ else 30


@dataclass
class Cluster:
    """A namespace for this run. `double` is None on a real cluster."""

    kubeconfig: str
    namespace: str
    double: Kubernetes | None

    def __post_init__(self) -> None:
        self.sync = Sync(self.kubeconfig, self.namespace)
        self.core = self.sync.core
        self.batch = kubernetes.client.BatchV1Api(self.sync.api)

    def run(self, script: str = "true", **fields: Any) -> str:
        """Create a pod with one container that runs a script of `sh`; its name. See `pod_of`."""
        return self.sync.create(pod_of(script, **fields))["metadata"]["name"]

    def until(self, name: str, found: Callable[[Thing], Any]) -> Thing:
        """The pod once this is true of it."""
        return patiently(lambda: (pod := self.sync.read(name)) and found(pod) and pod)

    def over(self, name: str) -> Thing:
        """The pod once it is in a final phase."""
        return self.until(name, lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))

    def gone(self, name: str) -> None:
        patiently(lambda: not self.sync.list(fields=f"metadata.name={name}"))


def patiently(found: Callable[[], Any]) -> Any:
    """What `found` returns once that is true."""
    until = time.monotonic() + PATIENCE_S
    while not (result := found()):
        assert time.monotonic() < until, f"not within {PATIENCE_S} s"
        time.sleep(0.05)
    return result


def pod_of(script: str = "true", **fields: Any) -> Thing:
    """A pod with one container, `base`. `container` and `metadata`: more of their fields."""
    container = {
        "name": "base", "image": IMAGE, "command": ["sh", "-c", script], **fields.pop("container", {})
    }  # fmt: skip
    metadata = {"name": f"pod-{secrets.token_hex(4)}", **fields.pop("metadata", {})}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [container], **fields}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def state(pod: Thing, init: bool = False) -> Thing:
    """The state of the first container, or of the first init container; empty before it has one."""
    found = pod["status"].get("initContainerStatuses" if init else "containerStatuses") or [{"state": {}}]
    return found[0]["state"]


def condition(pod: Thing, kind: str) -> Thing:
    return next((one for one in pod["status"].get("conditions") or [] if one["type"] == kind), {})


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if "KUBECONFIG" in os.environ:
        yield from _in_new_namespace(os.environ["KUBECONFIG"], None)
        return
    with running_kubernetes() as double:
        yield from _in_new_namespace(str(double.kubeconfig), double)


def _in_new_namespace(kubeconfig: str, double: Kubernetes | None) -> Iterator[Cluster]:
    name = f"nightshift-contract-{secrets.token_hex(4)}"
    found = Cluster(kubeconfig, name, double)
    found.core.create_namespace({"metadata": {"name": name}})
    try:
        patiently(lambda: found.core.list_namespaced_service_account(name).items)
        yield found
    finally:
        found.core.delete_namespace(name)


@pytest.fixture
def double(cluster: Cluster) -> Iterator[Kubernetes]:
    """The double, whose faults come on demand; a real cluster has no such thing."""
    if cluster.double is None:
        pytest.skip("only the double makes this fault on demand")
    yield cluster.double
    cluster.double.mend()


@pytest.fixture(params=[Sync, Async, Kubectl], ids=["sync", "async", "kubectl"])
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Client:
    return request.param(cluster.kubeconfig, cluster.namespace)


@pytest.fixture
def refused() -> Callable[..., Any]:
    """`with refused("NotFound"):` the server must say no for this reason."""
    return lambda reason: pytest.raises(Refused, match=rf"^{reason}:")
