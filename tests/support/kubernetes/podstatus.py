"""Conditions and states of containers, as a kubelet and a scheduler write them."""

from __future__ import annotations

from typing import Any

from tests.support.kubernetes.store import Thing, now


def set_condition(thing: Thing, kind: str, status: str, reason: str = "", message: str = "") -> None:
    """Set one condition; its time moves only with its status."""
    conditions = thing.setdefault("status", {}).setdefault("conditions", [])
    old = next((one for one in conditions if one["type"] == kind), None)
    at = old["lastTransitionTime"] if old and old["status"] == status else now()
    new = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": at}
    if thing.get("kind") != "Pod":
        del new["lastProbeTime"]
    new |= {key: value for key, value in (("reason", reason), ("message", message)) if value}
    if old:
        conditions[conditions.index(old)] = new
    else:
        conditions.append(new)


def condition(thing: Thing, kind: str) -> dict[str, Any]:
    """The condition, or an empty one."""
    return next((one for one in thing.get("status", {}).get("conditions") or [] if one["type"] == kind), {})


def qos(pod: Thing) -> str:
    """Guaranteed, Burstable or BestEffort, from requests and limits."""
    resources = [one.get("resources") or {} for one in pod["spec"]["containers"]]
    if not any(one.get("requests") or one.get("limits") for one in resources):
        return "BestEffort"
    pairs = [(one.get("requests") or {}, one.get("limits") or {}) for one in resources]
    full = all(
        name in limits and asked.get(name, limits[name]) == limits[name]
        for asked, limits in pairs
        for name in ("cpu", "memory")
    )
    return "Guaranteed" if full else "Burstable"


def summarize(pod: Thing, unready: str, done: bool) -> None:
    """The four conditions that follow from the states of containers. `unready`: names, or empty."""
    inits = pod["status"].get("initContainerStatuses") or []
    waiting = [one["name"] for one in inits if one["state"].get("terminated", {}).get("exitCode") != 0]
    if done:
        set_condition(pod, "PodReadyToStartContainers", "False")
        failed = pod["status"]["phase"] == "Failed"
        if waiting:
            text = f"containers with incomplete status: [{' '.join(waiting)}]"
            set_condition(pod, "Initialized", "False", "ContainersNotInitialized", text)
        else:
            set_condition(pod, "Initialized", "True", "" if failed else "PodCompleted")
        reason = "PodFailed" if failed else "PodCompleted"
        for kind in ("Ready", "ContainersReady"):
            set_condition(pod, kind, "False", reason)
        return
    if waiting:
        text = f"containers with incomplete status: [{' '.join(waiting)}]"
        set_condition(pod, "Initialized", "False", "ContainersNotInitialized", text)
    else:
        set_condition(pod, "Initialized", "True")
    for kind in ("Ready", "ContainersReady"):
        if unready:
            text = f"containers with unready status: [{unready}]"
            set_condition(pod, kind, "False", "ContainersNotReady", text)
        else:
            set_condition(pod, kind, "True")
