"""What a client asks before it asks for objects: versions, groups, kinds, and which patches check fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.support.kubernetes.resources import Resource
from tests.support.kubernetes.schema import VERSION

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def version() -> dict[str, str]:
    major, minor, *_ = VERSION.split(".")
    return {
        "major": major, "minor": minor, "gitVersion": f"v{VERSION}", "gitCommit": "0" * 40,
        "gitTreeState": "clean",        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.26",
        "compiler": "gc",
        "platform": "linux/amd64",
    }  # fmt: skip


def groups(resources: Iterable[Resource]) -> dict[str, list[str]]:
    """Group -> its versions."""
    found: dict[str, list[str]] = {}
    for one in resources:
        versions = found.setdefault(one.group, [])
        if one.version not in versions:
            versions.append(one.version)
    return found


def api_versions() -> dict[str, Any]:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def api_groups(resources: list[Resource]) -> dict[str, Any]:
    found = []
    for group, versions in groups(resources).items():
        if group:
            both = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
            found.append({"name": group, "versions": both, "preferredVersion": both[0]})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def api_resources(resources: list[Resource], group: str, version: str) -> dict[str, Any]:
    found = []
    for one in resources:
        if (one.group, one.version) == (group, version):
            entry = {"name": one.plural, "singularName": one.kind.lower(), "namespaced": one.namespaced}
            found.append({**entry, "kind": one.kind, "verbs": VERBS, "shortNames": list(one.short)})
            found += [
                {
                    **entry,
                    "name": f"{one.plural}/{sub}",
                    "singularName": "",
                    "kind": one.kind,
                    "verbs": ["get"],
                }
                for sub in one.subresources
            ]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}


def aggregated(resources: list[Resource], core: bool) -> dict[str, Any]:
    """All kinds in one answer, as kubectl asks for them."""
    items = []
    for group, versions in groups(resources).items():
        if (group == "") == core:
            items.append(
                {
                    "metadata": {**({"name": group} if group else {}), "creationTimestamp": None},
                    "versions": [
                        {
                            "version": version,
                            "freshness": "Current",
                            "resources": [
                                _described(one)
                                for one in resources
                                if (one.group, one.version) == (group, version)
                            ],
                        }
                        for version in versions
                    ],
                }
            )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _described(one: Resource) -> dict[str, Any]:
    kind = {"group": one.group, "version": one.version, "kind": one.kind}
    return {
        "resource": one.plural,
        "responseKind": kind,
        "scope": "Namespaced" if one.namespaced else "Cluster",
        "singularResource": one.kind.lower(),
        "verbs": VERBS,
        "shortNames": list(one.short),
        "categories": one.categories,
        "subresources": [
            {"subresource": sub, "responseKind": kind, "verbs": ["get", "patch", "update"]}
            for sub in one.subresources
        ],
    }


def openapi_index(resources: list[Resource]) -> dict[str, Any]:
    paths = {}
    for group, versions in groups(resources).items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash=0"}
    return {"paths": paths}


def openapi_paths(resources: list[Resource], group: str, version: str) -> dict[str, Any]:
    """The paths without schemas: enough for kubectl to see that this server checks fields itself."""
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string"}} for name in ("fieldValidation", "dryRun")
    ]
    paths = {}
    for one in resources:
        if (one.group, one.version) == (group, version):
            root = f"/apis/{group}/{version}" if group else f"/api/{version}"
            scope = "/namespaces/{namespace}" if one.namespaced else ""
            kind = {"group": one.group, "version": one.version, "kind": one.kind}
            paths[f"{root}{scope}/{one.plural}/{{name}}"] = {
                "patch": {"parameters": parameters, "x-kubernetes-group-version-kind": kind, "responses": {}}
            }
    info = {"title": "Kubernetes", "version": f"v{VERSION}"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
