"""What a real server adds to an object at its creation, where our clients read it."""

from __future__ import annotations

import base64
from typing import Any

from tests.support.kubernetes.podstatus import qos
from tests.support.kubernetes.store import Thing

NOT_READY_S = 300


def set_defaults(thing: Thing) -> None:
    """Fill in the defaults of a new object, and take away what a client may not set."""
    for name in ("uid", "creationTimestamp", "resourceVersion", "deletionTimestamp", "selfLink"):
        thing["metadata"].pop(name, None)
    kind = thing["kind"]
    if kind == "Pod":
        _pod_spec(thing["spec"])
        _tolerations(thing["spec"])
        thing["status"] = {"phase": "Pending", "qosClass": qos(thing)}
    elif kind == "Job":
        _job(thing)
    elif kind == "Namespace":
        thing.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        thing["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = thing["metadata"]["name"]
        thing["status"] = {"phase": "Active"}
    elif kind == "Service":
        _service(thing["spec"])
    elif kind == "Secret":
        thing.setdefault("type", "Opaque")
        _string_data(thing)


def _pod_spec(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        tag = container["image"].rpartition("/")[2]
        latest = ("@" not in tag and ":" not in tag) or tag.endswith(":latest")
        container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
        limits = container["resources"].get("limits")
        if limits:  # a limit without a request is the request
            container["resources"]["requests"] = {**limits, **(container["resources"].get("requests") or {})}
        for one in container.get("env") or []:
            if "fieldRef" in (one.get("valueFrom") or {}):
                one["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")


def _tolerations(spec: dict[str, Any]) -> None:
    """As the admission plugin DefaultTolerationSeconds."""
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(one.get("key") in (key, None, "") and one.get("effect") in (None, "NoExecute")
                   for one in tolerations):  # fmt: skip
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": NOT_READY_S}
            )


def _job(thing: Thing) -> None:
    spec = thing["spec"]
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")
    spec.setdefault("manualSelector", False)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    _pod_spec(spec["template"]["spec"])
    spec["template"]["spec"].pop("serviceAccountName")
    spec["template"]["spec"].pop("serviceAccount")
    thing["status"] = {}


def finish_job(thing: Thing, uid: str) -> None:
    """The selector and labels that the server derives from a Job's UID."""
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": thing["metadata"]["name"],
        "controller-uid": uid,
        "job-name": thing["metadata"]["name"],
    }
    thing["spec"].setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})
    metadata = thing["spec"]["template"].setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    thing["metadata"]["labels"] = {**(thing["metadata"].get("labels") or {}), **labels}
    thing["metadata"].setdefault("generation", 1)


def _service(spec: dict[str, Any]) -> None:
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] == "ClusterIP":
        spec.setdefault("clusterIP", "10.96.0.10")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])


def _string_data(thing: Thing) -> None:
    plain = thing.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        thing["data"] = {**(thing.get("data") or {}), **encoded}
