"""Events of objects, counted up where the same one comes again."""

from __future__ import annotations

import uuid

from tests.support.kubernetes.resources import EVENTS
from tests.support.kubernetes.store import Store, Thing, now


def record(
    store: Store, thing: Thing, reason: str, message: str, kind: str = "Normal", source: str = "kubelet",
    container: str = "",
) -> None:  # fmt: skip
    """Write an event as the named component does. `container`: the field's path, or empty."""
    metadata = thing["metadata"]
    namespace = metadata.get("namespace", "default")
    about = {
        "kind": thing["kind"],
        **({"namespace": metadata["namespace"]} if "namespace" in metadata else {}),
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": thing["apiVersion"],
        "resourceVersion": metadata["resourceVersion"],
        **({"fieldPath": container} if container else {}),
    }
    with store.changed:
        for old in store.all(EVENTS, namespace):
            same = old["involvedObject"]["uid"] == about["uid"] and old["reason"] == reason
            if same and old["message"] == message:

                def again(event: Thing) -> None:
                    event["count"] += 1
                    event["lastTimestamp"] = now()

                store.update(EVENTS, namespace, old["metadata"]["name"], again)
                return
        host = thing.get("spec", {}).get("nodeName", "") if source == "kubelet" else ""
        event = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "source": {"component": source, **({"host": host} if host else {})},
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
            "type": kind,
            "eventTime": None,
            "reportingComponent": source,
            "reportingInstance": host,
        }
        store.create(EVENTS, event)
