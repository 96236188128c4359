"""DELETE, one object or many, and the eviction of a pod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.kubernetes import listing
from tests.support.kubernetes.deleting import delete
from tests.support.kubernetes.messages import Answer, Request, Target, is_dry
from tests.support.kubernetes.podstatus import set_condition
from tests.support.kubernetes.resources import PODS
from tests.support.kubernetes.store import Store, Thing


@dataclass
class Remover:
    """Deletes what is stored."""

    store: Store

    def _options(self, request: Request) -> dict[str, Any]:
        options = request.data()
        for name in ("gracePeriodSeconds", "propagationPolicy"):
            if name in request.query:
                options[name] = request.query[name]
        if "gracePeriodSeconds" in options and options["gracePeriodSeconds"] is not None:
            options["gracePeriodSeconds"] = int(options["gracePeriodSeconds"])
        return options

    def delete(self, request: Request, target: Target) -> Answer:
        options = self._options(request)
        if is_dry(request) or options.get("dryRun"):
            return Answer(document=self.store.get(target.resource, target.namespace, target.name))
        thing, gone = delete(self.store, target.resource, target.namespace, target.name, options)
        if target.resource == PODS or not gone:
            return Answer(document=thing)
        details = {"name": target.name, "kind": target.resource.plural, "uid": thing["metadata"]["uid"]}
        if target.resource.group:
            details["group"] = target.resource.group
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
        return Answer(document=status)

    def delete_all(self, request: Request, target: Target) -> Answer:
        match = listing.matcher(target.resource, target.namespace, request.query)
        found = listing.page(self.store, target.resource, match, {})
        options = self._options(request)
        for one in found["items"]:
            delete(
                self.store,
                target.resource,
                one["metadata"].get("namespace", ""),
                one["metadata"]["name"],
                options,
            )
        return Answer(document=found)

    def evict(self, request: Request, target: Target) -> Answer:
        """As `kubectl drain`: the pod is told why, then deleted with its grace period."""
        text = "Eviction API: evicting"

        def mark(pod: Thing) -> None:
            set_condition(pod, "DisruptionTarget", "True", "EvictionByEvictionAPI", text)

        self.store.update(PODS, target.namespace, target.name, mark)
        options = request.data().get("deleteOptions") or {}
        delete(self.store, PODS, target.namespace, target.name, options)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return Answer(201, status)
