"""The API: a request in, a document or a stream out. It knows nothing of sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.kubernetes import discovery, rbac
from tests.support.kubernetes.faults import Faults
from tests.support.kubernetes.kubelet import PodWorker
from tests.support.kubernetes.messages import Answer, Request, Target, target_of
from tests.support.kubernetes.reading import Reader
from tests.support.kubernetes.removing import Remover
from tests.support.kubernetes.resources import Resource
from tests.support.kubernetes.store import Store
from tests.support.kubernetes.writing import Writer

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass
class Api:
    """Answers requests from the store."""

    store: Store
    resources: list[Resource]
    workers: dict[str, PodWorker]
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.writer = Writer(self.store, self.faults)
        self._reader = Reader(self.store, self.workers)
        self._remover = Remover(self.store)

    def answer(self, request: Request) -> Answer:
        """Raises ApiError for every answer that is a Status of failure."""
        known = self._discovery(request)
        if known is not None:
            return known
        target = target_of(request, self.resources)
        if request.user:
            rbac.check(self.store, request.user, _wish(request, target))
        if target.sub == "log":
            return self._reader.log(request, target)
        if target.sub == "eviction":
            return self._remover.evict(request, target)
        do = {
            "GET": self._reader.get if target.name else self._reader.list,
            "POST": self.writer.post,
            "PUT": self.writer.replace,
            "PATCH": self.writer.patch,
            "DELETE": self._remover.delete if target.name else self._remover.delete_all,
        }[request.method]
        return do(request, target)

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


def _wish(request: Request, target: Target) -> rbac.Wish:
    if request.method == "GET":
        verb = "get" if target.name else "watch" if request.query.get("watch") == "true" else "list"
    elif request.method == "DELETE":
        verb = "delete" if target.name else "deletecollection"
    else:
        verb = _VERBS[request.method]
    plural = f"{target.resource.plural}/{target.sub}" if target.sub else target.resource.plural
    return rbac.Wish(verb, target.resource.group, plural, target.namespace, target.name)
