"""The API: a request in, a document or a stream out. It knows nothing of sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.support.kubernetes import admission, discovery, listing, logs, patches, tables
from tests.support.kubernetes.defaults import finish_job, set_defaults
from tests.support.kubernetes.deleting import delete
from tests.support.kubernetes.faults import Faults
from tests.support.kubernetes.kubelet import PodWorker
from tests.support.kubernetes.podstatus import set_condition
from tests.support.kubernetes.resources import BY_PLURAL, NAMESPACES, PODS, Resource
from tests.support.kubernetes.schema import validate
from tests.support.kubernetes.status import ApiError, invalid
from tests.support.kubernetes.store import Store, Thing

_PATH = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>.+))?$"
)


@dataclass
class Request:
    """What came over the wire. `cut` tells a stream that it is to break off."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    cut: Callable[[], bool] = lambda: False

    def data(self) -> Any:
        """The body, JSON or YAML. Raises 400 for anything else."""
        if not self.body:
            return {}
        try:
            if "yaml" in self.headers.get("content-type", ""):
                return yaml.safe_load(self.body)
            return json.loads(self.body)
        except (ValueError, yaml.YAMLError) as error:
            raise ApiError(400, f"error decoding the body: {error}") from error


@dataclass
class Answer:
    """A document, or a stream of bytes in which None is a pause."""

    status: int = 200
    document: Any = None
    stream: Iterator[bytes | None] | None = None
    content_type: str = "application/json"


@dataclass
class Target:
    """What a path names."""

    resource: Resource
    namespace: str
    name: str
    sub: str


@dataclass
class Api:
    """Answers requests from the store."""

    store: Store
    resources: list[Resource]
    workers: dict[str, PodWorker]
    faults: Faults = field(default_factory=Faults)

    def answer(self, request: Request) -> Answer:
        """Raises ApiError for every answer that is a Status of failure."""
        known = self._discovery(request)
        if known is not None:
            return known
        target = self._target(request)
        if target.resource == PODS and target.sub == "log":
            return self._log(request, target)
        if target.sub == "eviction":
            return self._evict(request, target)
        do = {
            "GET": self._get if target.name else self._list,
            "POST": self._create,
            "PUT": self._replace,
            "PATCH": self._patch,
            "DELETE": self._delete if target.name else self._delete_all,
        }[request.method]
        return do(request, target)

    # Discovery -------------------------------------------------------------------------------------

    def _discovery(self, request: Request) -> Answer | None:
        parts = request.path.strip("/").split("/")
        whole = "apidiscovery.k8s.io" in request.headers.get("accept", "")
        if request.path in ("/healthz", "/readyz", "/livez"):
            return Answer(stream=iter([b"ok"]), content_type="text/plain")
        if request.path == "/version":
            return Answer(document=discovery.version())
        if parts in (["api"], ["apis"]) and whole:
            document = discovery.aggregated(self.resources, core=parts == ["api"])
            return Answer(document=document, content_type=discovery.AGGREGATED)
        if parts == ["api"]:
            return Answer(document=discovery.api_versions())
        if parts == ["apis"]:
            return Answer(document=discovery.api_groups(self.resources))
        if parts == ["api", "v1"]:
            return Answer(document=discovery.api_resources(self.resources, "", "v1"))
        if len(parts) == 3 and parts[0] == "apis":
            return Answer(document=discovery.api_resources(self.resources, parts[1], parts[2]))
        if parts == ["openapi", "v3"]:
            return Answer(document=discovery.openapi_index(self.resources))
        if parts[:2] == ["openapi", "v3"]:
            group = parts[3] if parts[2] == "apis" else ""
            return Answer(document=discovery.openapi_paths(self.resources, group, parts[-1]))
        return None

    def _target(self, request: Request) -> Target:
        found = _PATH.match(request.path)
        missing = ApiError(404, "the server could not find the requested resource", details={})
        if not found:
            raise missing
        key = found["group"] or "", found["version"] or "v1", found["plural"]
        for one in self.resources:
            if (one.group, one.version, one.plural) == key:
                sub = found["sub"] or ""
                if sub and sub not in one.subresources:
                    raise missing
                return Target(one, found["namespace"] or "", found["name"] or "", sub)
        raise missing

    # Reading ---------------------------------------------------------------------------------------

    def _as_table(self, request: Request) -> bool:
        return "as=Table" in request.headers.get("accept", "")

    def _get(self, request: Request, target: Target) -> Answer:
        thing = self.store.get(target.resource, target.namespace, target.name)
        if self._as_table(request):
            return Answer(document=tables.table(thing["kind"], [thing], {}))
        return Answer(document=thing)

    def _list(self, request: Request, target: Target) -> Answer:
        listing.check_version(request.query)
        match = listing.matcher(target.resource, target.namespace, request.query)
        if request.query.get("watch") in ("true", "1", "t", "T"):
            return self._watch(request, target, match)
        found = listing.page(self.store, target.resource, match, request.query)
        if self._as_table(request):
            head = {"kind": target.resource.kind, "apiVersion": target.resource.api_version}
            items = [head | one for one in found["items"]]
            return Answer(document=tables.table(target.resource.kind, items, found["metadata"]))
        return Answer(document=found)

    def _watch(self, request: Request, target: Target, match: Callable[[Thing], bool]) -> Answer:
        as_table = self._as_table(request)

        def encoded() -> Iterator[bytes | None]:
            for event in listing.watch(self.store, target.resource, match, request.query, request.cut):
                if event is None:
                    yield None
                    continue
                thing = event["object"]
                if as_table and event["type"] not in ("ERROR", "BOOKMARK"):
                    version = {"resourceVersion": thing["metadata"]["resourceVersion"]}
                    event = {**event, "object": tables.table(thing["kind"], [thing], version)}
                yield json.dumps(event).encode() + b"\n"

        return Answer(stream=encoded())

    def _log(self, request: Request, target: Target) -> Answer:
        pod = self.store.get(PODS, target.namespace, target.name)
        name = logs.chosen(pod, request.query.get("container", ""))
        worker = self.workers.get(pod["metadata"]["uid"])
        if worker is None:
            return Answer(204)
        one = next(one for one in worker.records if one.name == name)
        logs.log_of(pod, one, request.query.get("previous") == "true")
        stream = logs.lines(worker, one, pod, request.query, request.cut)
        return Answer(stream=stream, content_type="text/plain")

    # Writing ---------------------------------------------------------------------------------------

    def admit(self, resource: Resource, thing: Thing) -> None:
        """All checks of a new object with its defaults."""
        admission.check_name(resource, thing)
        if resource.namespaced:
            admission.check_namespace(self.store, resource, thing)
        if resource == PODS:
            admission.check_pod(self.store, thing)
        self.faults.admit(resource.plural, resource.group, thing["metadata"].get("name", ""))

    def _create(self, request: Request, target: Target) -> Answer:
        if target.name:
            raise ApiError(405, "the server does not allow this method on the requested resource")
        return Answer(201, self.create(target.resource, target.namespace, request.data(), _dry(request)))

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

    def _replace(self, request: Request, target: Target) -> Answer:
        thing = request.data()
        self._check_body(target.resource, target.namespace, target.name, thing)
        return Answer(document=self._write(target, thing, _dry(request)))

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
                _check_pod_update(old, thing)
            if dry:
                return thing
            new = self.store.replace(target.resource, thing)
            metadata = new["metadata"]
            if "deletionTimestamp" in metadata and not metadata.get("finalizers") and target.resource != PODS:
                return self.store.remove(target.resource, target.namespace, target.name)
            return new

    def _patch(self, request: Request, target: Target) -> Answer:
        kind = request.headers.get("content-type", "").partition(";")[0]
        patch = request.data()
        with self.store.changed:
            old = self.store.find(target.resource, target.namespace, target.name)
            if old is None and kind == patches.APPLY and not target.sub:
                return Answer(201, self.create(target.resource, target.namespace, patch, _dry(request)))
            old = self.store.get(target.resource, target.namespace, target.name)
            new = patches.patched(old, patch, kind)
            self._check_body(target.resource, target.namespace, target.name, new)
            return Answer(document=self._write(target, new, _dry(request)))

    # Deleting --------------------------------------------------------------------------------------

    def _options(self, request: Request) -> dict[str, Any]:
        options = request.data()
        for name in ("gracePeriodSeconds", "propagationPolicy"):
            if name in request.query:
                options[name] = request.query[name]
        if "gracePeriodSeconds" in options and options["gracePeriodSeconds"] is not None:
            options["gracePeriodSeconds"] = int(options["gracePeriodSeconds"])
        return options

    def _delete(self, request: Request, target: Target) -> Answer:
        options = self._options(request)
        if _dry(request) or options.get("dryRun"):
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

    def _delete_all(self, request: Request, target: Target) -> Answer:
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

    def _evict(self, request: Request, target: Target) -> Answer:
        """As `kubectl drain`: the pod is told why, then deleted with its grace period."""
        text = "Eviction API: evicting"

        def mark(pod: Thing) -> None:
            set_condition(pod, "DisruptionTarget", "True", "EvictionByEvictionAPI", text)

        self.store.update(PODS, target.namespace, target.name, mark)
        options = request.data().get("deleteOptions") or {}
        delete(self.store, PODS, target.namespace, target.name, options)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return Answer(201, status)


def _dry(request: Request) -> bool:
    return request.query.get("dryRun") == "All"


def _check_pod_update(old: Thing, new: Thing) -> None:
    """A pod's specification stays, but for the few fields that a server lets be changed."""

    def fixed(pod: Thing) -> Thing:
        free = ("tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "schedulingGates")
        spec = {key: value for key, value in pod["spec"].items() if key not in free}
        for where in ("containers", "initContainers"):
            spec[where] = [{**one, "image": ""} for one in spec.get(where) or []]
        if pod["spec"].get("schedulingGates") or old["spec"].get("schedulingGates"):
            spec.pop("nodeSelector", None)  # a queue sets it when it admits a gated pod
            spec.pop("affinity", None)
        return spec

    if fixed(old) != fixed(new):
        text = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
            "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
            "was previously negative)"
        )
        raise invalid("Pod", "", new["metadata"]["name"], [("spec", "FieldValueForbidden", text)])
