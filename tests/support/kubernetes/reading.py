"""GET: one object, a list, a table, a watch, a log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support.kubernetes import listing, logs, tables
from tests.support.kubernetes.kubelet import PodWorker
from tests.support.kubernetes.messages import Answer, Request, Target
from tests.support.kubernetes.resources import PODS
from tests.support.kubernetes.store import Store, Thing


@dataclass
class Reader:
    """Answers from the store and from the logs of the pods' workers (by UID)."""

    store: Store
    workers: dict[str, PodWorker]

    def _as_table(self, request: Request) -> bool:
        return "as=Table" in request.headers.get("accept", "")

    def get(self, request: Request, target: Target) -> Answer:
        thing = self.store.get(target.resource, target.namespace, target.name)
        if self._as_table(request):
            return Answer(document=tables.table(thing["kind"], [thing], {}))
        return Answer(document=thing)

    def list(self, request: Request, target: Target) -> Answer:
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

    def log(self, request: Request, target: Target) -> Answer:
        pod = self.store.get(PODS, target.namespace, target.name)
        name = logs.chosen(pod, request.query.get("container", ""))
        worker = self.workers.get(pod["metadata"]["uid"])
        if worker is None:
            return Answer(204)
        one = next(one for one in worker.records if one.name == name)
        logs.log_of(pod, one, request.query.get("previous") == "true")
        stream = logs.lines(worker, one, pod, request.query, request.cut)
        return Answer(stream=stream, content_type="text/plain")
