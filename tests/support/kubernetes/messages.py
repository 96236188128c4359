"""A request, what its path names, and an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.kubernetes.resources import Resource
from tests.support.kubernetes.status import ApiError

_PATH = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>.+))?$"
)


@dataclass
class Request:
    """What came over the wire. `cut` tells a stream that it is to break off; `user` is empty for an admin."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    cut: Callable[[], bool] = lambda: False
    user: str = ""

    def data(self) -> Any:
        """The body, JSON or YAML. Raises 400 for anything else."""
        if not self.body:
            return {}
        if "protobuf" in self.headers.get("content-type", ""):
            raise ApiError(415, "the double reads JSON and YAML, no protobuf")
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


def target_of(request: Request, resources: list[Resource]) -> Target:
    """The resource, namespace, name and subresource of a path. Raises 404 for what is not served."""
    found = _PATH.match(request.path)
    missing = ApiError(404, "the server could not find the requested resource", details={})
    if not found:
        raise missing
    key = found["group"] or "", found["version"] or "v1", found["plural"]
    for one in resources:
        if (one.group, one.version, one.plural) == key:
            sub = found["sub"] or ""
            if sub and sub not in one.subresources:
                raise missing
            return Target(one, found["namespace"] or "", found["name"] or "", sub)
    raise missing


def is_dry(request: Request) -> bool:
    return request.query.get("dryRun") == "All"
