"""POST, PUT and PATCH: checks, defaults, versions."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.support.kubernetes import admission, patches
from tests.support.kubernetes.defaults import finish_job, set_defaults
from tests.support.kubernetes.faults import Faults
from tests.support.kubernetes.messages import Answer, Request, Target, is_dry
from tests.support.kubernetes.resources import BY_PLURAL, NAMESPACES, PODS, Resource
from tests.support.kubernetes.schema import validate
from tests.support.kubernetes.status import ApiError
from tests.support.kubernetes.store import Store, Thing


@dataclass
class Writer:
    """Checks and stores objects."""

    store: Store
    faults: Faults

    def admit(self, resource: Resource, thing: Thing) -> None:
        """All checks of a new object with its defaults."""
        admission.check_name(resource, thing)
        if resource.namespaced:
            admission.check_namespace(self.store, resource, thing)
        if resource == PODS:
            admission.check_pod(self.store, thing)
        self.faults.admit(resource.plural, resource.group, thing["metadata"].get("name", ""))

    def post(self, request: Request, target: Target) -> Answer:
        if target.name:
            raise ApiError(405, "the server does not allow this method on the requested resource")
        return Answer(201, self.create(target.resource, target.namespace, request.data(), is_dry(request)))

    def create(self, resource: Resource, namespace: str, thing: Thing, dry: bool = False) -> Thing:
        """Check, default and store a new object."""
        thing = {"apiVersion": resource.api_version, "kind": resource.kind, **deepcopy(thing)}
        self._check_body(resource, namespace, "", thing)
        set_defaults(thing)
        with self.store.changed:
            self.admit(resource, thing)
            if dry:
                return thing
            made = self.store.create(resource, thing)
            namespace, name = made["metadata"].get("namespace", ""), made["metadata"]["name"]
            if resource.kind == "Job":
                return self.store.update(
                    resource, namespace, name, lambda job: finish_job(job, made["metadata"]["uid"])
                )
            if resource == NAMESPACES:
                account: Thing = {
                    "apiVersion": "v1",
                    "kind": "ServiceAccount",
                    "metadata": {"name": "default"},
                }
                self.create(BY_PLURAL["serviceaccounts"], name, account)
        return made

    def _check_body(self, resource: Resource, namespace: str, name: str, thing: Any) -> None:
        if not isinstance(thing, dict) or thing.get("kind") != resource.kind:
            kind = thing.get("kind") if isinstance(thing, dict) else type(thing).__name__
            raise ApiError(400, f"the object provided is unrecognized: got {kind}, want {resource.kind}")
        validate(resource, thing)
        metadata = thing.setdefault("metadata", {})
        if resource.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise ApiError(
                    400,
                    "the namespace of the provided object does not match the namespace sent on the request",
                )
        else:
            metadata.pop("namespace", None)
        if name and metadata.setdefault("name", name) != name:
            text = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            raise ApiError(400, text)

    def replace(self, request: Request, target: Target) -> Answer:
        thing = request.data()
        self._check_body(target.resource, target.namespace, target.name, thing)
        return Answer(document=self._write(target, thing, is_dry(request)))

    def _write(self, target: Target, thing: Thing, dry: bool) -> Thing:
        """Store a new version: of the status for that subresource, of everything else otherwise."""
        with self.store.changed:
            old = self.store.get(target.resource, target.namespace, target.name)
            if target.sub == "status":
                kept = thing
                thing = {**deepcopy(old), "status": kept.get("status", {})}
                thing["metadata"]["resourceVersion"] = kept["metadata"].get("resourceVersion")
            elif "status" in target.resource.subresources and "status" in old:
                thing["status"] = deepcopy(old["status"])
            for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
                if name in old["metadata"]:
                    thing["metadata"][name] = old["metadata"][name]
            if target.resource == PODS:
                admission.check_pod_update(old, thing)
            if dry:
                return thing
            new = self.store.replace(target.resource, thing)
            metadata = new["metadata"]
            if "deletionTimestamp" in metadata and not metadata.get("finalizers") and target.resource != PODS:
                return self.store.remove(target.resource, target.namespace, target.name)
            return new

    def patch(self, request: Request, target: Target) -> Answer:
        kind = request.headers.get("content-type", "").partition(";")[0]
        patch = request.data()
        with self.store.changed:
            old = self.store.find(target.resource, target.namespace, target.name)
            if old is None and kind == patches.APPLY and not target.sub:
                return Answer(201, self.create(target.resource, target.namespace, patch, is_dry(request)))
            old = self.store.get(target.resource, target.namespace, target.name)
            new = patches.patched(old, patch, kind)
            self._check_body(target.resource, target.namespace, target.name, new)
            return Answer(document=self._write(target, new, is_dry(request)))
