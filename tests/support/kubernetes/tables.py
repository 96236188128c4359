"""Lists as tables, which `kubectl get` asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.support.kubernetes.podstatus import condition
from tests.support.kubernetes.store import Thing

_COLUMNS = {
    "Pod": ["Name", "Ready", "Status", "Restarts", "Age"],
    "Job": ["Name", "Status", "Completions", "Duration", "Age"],
    "Node": ["Name", "Status", "Roles", "Age", "Version"],
    "Namespace": ["Name", "Status", "Age"],
    "Event": ["Last Seen", "Type", "Reason", "Object", "Message"],
}


def age(stamp: str) -> str:
    """The time since, in the largest units as kubectl writes it."""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds())
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 7200:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h" if seconds < 172800 else f"{seconds // 86400}d"


def pod_status(pod: Thing) -> str:
    """The word in the column Status, as the server's printer finds it."""
    status = pod.get("status", {})
    word: Any = status.get("reason") or status.get("phase", "")
    if condition(pod, "PodScheduled").get("reason") == "SchedulingGated":
        word = "SchedulingGated"
    inits = status.get("initContainerStatuses") or []
    for number, one in enumerate(inits):
        terminated, waiting = one["state"].get("terminated"), one["state"].get("waiting")
        if terminated and terminated["exitCode"] == 0:
            continue
        if terminated:
            word = f"Init:{terminated['reason']}"
        elif waiting and waiting["reason"] != "PodInitializing":
            word = f"Init:{waiting['reason']}"
        else:
            word = f"Init:{number}/{len(inits)}"
        break
    else:
        for one in status.get("containerStatuses") or []:
            inner = one["state"].get("waiting") or one["state"].get("terminated") or {}
            if not status.get("reason"):
                word = inner.get("reason") or word
    if "deletionTimestamp" in pod["metadata"] and status.get("phase") not in ("Succeeded", "Failed"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return word


def _cells(thing: Thing) -> list[Any]:
    metadata, status, kind = thing["metadata"], thing.get("status", {}), thing["kind"]
    name, old = metadata["name"], age(metadata["creationTimestamp"])
    if kind == "Pod":
        states = status.get("containerStatuses") or []
        ready = f"{sum(one['ready'] for one in states)}/{len(thing['spec']['containers'])}"
        return [name, ready, pod_status(thing), str(sum(one["restartCount"] for one in states)), old]
    if kind == "Job":
        done = next(
            (one["type"] for one in status.get("conditions") or [] if one["status"] == "True"), "Running"
        )
        wanted = thing["spec"].get("completions") or 1
        return [name, done, f"{status.get('succeeded', 0)}/{wanted}", "", old]
    if kind == "Node":
        healthy = condition(thing, "Ready").get("status")
        shown = "Ready" if healthy == "True" else "NotReady"
        shown += ",SchedulingDisabled" if thing["spec"].get("unschedulable") else ""
        return [name, shown, "<none>", old, status.get("nodeInfo", {}).get("kubeletVersion", "")]
    if kind == "Namespace":
        return [name, status.get("phase", ""), old]
    if kind == "Event":
        about = thing["involvedObject"]
        where = f"{about['kind'].lower()}/{about['name']}"
        return [age(thing["lastTimestamp"]), thing["type"], thing["reason"], where, thing["message"]]
    return [name, metadata["creationTimestamp"]]


def table(kind: str, things: list[Thing], metadata: dict[str, Any]) -> dict[str, Any]:
    """The objects as rows."""
    columns = _COLUMNS.get(kind, ["Name", "Created At"])
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [
            {
                "name": one,
                "type": "string",
                "format": "name" if one == "Name" else "",
                "description": "",
                "priority": 0,
            }
            for one in columns
        ],
        "rows": [
            {
                "cells": _cells(one),
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": one["metadata"],
                },
            }
            for one in things
        ],
    }
