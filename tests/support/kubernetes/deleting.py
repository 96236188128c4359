"""Deletion: at once, after a grace period, behind finalizers, with or without the dependents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.kubernetes.resources import NAMESPACES, PODS, Resource
from tests.support.kubernetes.scheduler import OVER
from tests.support.kubernetes.status import conflict
from tests.support.kubernetes.store import Store, Thing, now

FOREGROUND = "foregroundDeletion"


def delete(
    store: Store, resource: Resource, namespace: str, name: str, options: dict[str, Any]
) -> tuple[Thing, bool]:
    """The object as deletion leaves it, and whether it is gone. Raises 409 where a precondition fails."""
    with store.changed:
        thing = store.get(resource, namespace, name)
        _check_preconditions(resource, thing, options.get("preconditions") or {})
        policy = options.get("propagationPolicy")
        if policy == "Foreground" and resource != PODS:
            return store.update(resource, namespace, name, _foreground), False
        if resource == PODS:
            grace_s = _grace_s(thing, options.get("gracePeriodSeconds"))
            if grace_s > 0:
                return store.update(PODS, namespace, name, lambda pod: _terminate(pod, grace_s)), False
        if resource == NAMESPACES:
            return store.update(NAMESPACES, "", name, _terminate_namespace), False
        if thing["metadata"].get("finalizers"):
            return store.update(resource, namespace, name, lambda one: _mark(one, 0)), False
        if policy == "Orphan":
            orphan(store, thing["metadata"]["uid"])
        return store.remove(resource, namespace, name), True


def _check_preconditions(resource: Resource, thing: Thing, wanted: dict[str, Any]) -> None:
    for field, title in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        found = thing["metadata"][field]
        if wanted.get(field) and wanted[field] != found:
            both = f"{title} in precondition: {wanted[field]}, {title} in object meta: {found}"
            why = f"Precondition failed: {both}"
            raise conflict(resource.plural, resource.group, thing["metadata"]["name"], why)


def _grace_s(pod: Thing, asked: int | None) -> int:
    """As the server does: nothing to wait for when the pod runs nowhere or is over."""
    if not pod["spec"].get("nodeName") or pod["status"]["phase"] in OVER:
        return 0
    return pod["spec"]["terminationGracePeriodSeconds"] if asked is None else asked


def _mark(thing: Thing, grace_s: int) -> None:
    metadata = thing["metadata"]
    if "deletionTimestamp" in metadata and grace_s >= metadata.get("deletionGracePeriodSeconds", 0):
        return  # a second deletion may shorten the grace period only
    at = datetime.now(UTC) + timedelta(seconds=grace_s)
    metadata["deletionTimestamp"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata["deletionGracePeriodSeconds"] = grace_s


def _terminate(pod: Thing, grace_s: int) -> None:
    _mark(pod, grace_s)


def _terminate_namespace(namespace: Thing) -> None:
    namespace["metadata"].setdefault("deletionTimestamp", now())
    namespace["status"] = {"phase": "Terminating"}


def _foreground(thing: Thing) -> None:
    _mark(thing, 0)
    finalizers = thing["metadata"].setdefault("finalizers", [])
    if FOREGROUND not in finalizers:
        finalizers.append(FOREGROUND)


def dependents(store: Store, uid: str, resources: list[Resource]) -> list[tuple[Resource, Thing]]:
    """The objects that name this owner."""
    return [
        (resource, thing)
        for resource in resources
        for thing in store.all(resource)
        if any(one["uid"] == uid for one in thing["metadata"].get("ownerReferences") or [])
    ]


def orphan(store: Store, uid: str) -> None:
    """Take the owner off its pods, so that they stay."""

    def cut(pod: Thing) -> None:
        owners = pod["metadata"]["ownerReferences"]
        pod["metadata"]["ownerReferences"] = [one for one in owners if one["uid"] != uid]

    for _, pod in dependents(store, uid, [PODS]):
        store.update(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], cut)
