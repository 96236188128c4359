"""Label and field selectors, as lists, watches and deletions of a collection take them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.support.kubernetes.status import ApiError

Match = Callable[[dict[str, Any]], bool]
_SET = re.compile(r"^([^\s,()!=]+)\s+(in|notin)\s+\(([^()]*)\)$")
_EQUAL = re.compile(r"^([^\s,()!=]+)\s*(==|=|!=)\s*([^\s,()!=]*)$")
_EXISTS = re.compile(r"^(!?)\s*([^\s,()!=]+)$")
# What a real server lets be selected on, apart from a name and a namespace.
FIELDS = {
    "Pod": {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
            "status.phase", "status.podIP", "status.nominatedNodeName"},
    "Event": {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
              "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
              "reason", "reportingComponent", "source", "type"},
    "Job": {"status.successful"},
    "Node": {"spec.unschedulable"},
    "Namespace": {"status.phase"},
    "Secret": {"type"},
}  # fmt: skip


def labels_match(selector: str) -> Match:
    """`a=b,c!=d,e in (f,g),h,!i` as a test of an object. Raises 400 for one that cannot be read."""
    tests = [_requirement(part.strip()) for part in re.split(r",(?![^(]*\))", selector) if part.strip()]
    return lambda thing: all(test(thing["metadata"].get("labels") or {}) for test in tests)


def _requirement(part: str) -> Match:
    if found := _SET.match(part):
        key, word, inside = found.groups()
        values = {value.strip() for value in inside.split(",")}
        if word == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(part):
        key, sign, value = found.groups()
        if sign == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(part):
        absent, key = found.groups()
        return lambda labels: (key in labels) != bool(absent)
    raise ApiError(400, f"unable to parse requirement: found '{part}', expected: identifier")


def fields_match(kind: str, selector: str) -> Match:
    """`status.phase=Running,metadata.name!=x` as a test. Raises 400 for a field that has no index."""
    tests = []
    for part in filter(None, selector.split(",")):
        field, sign, value = re.split(r"(!=|==|=)", part, maxsplit=1)
        if field not in {"metadata.name", "metadata.namespace"} | FIELDS.get(kind, set()):
            raise ApiError(400, f'Unable to find "{kind}" that match label selector "", field selector '
                                f'"{selector}": field label not supported: {field}')  # fmt: skip
        tests.append((field.split("."), sign == "!=", value))
    return lambda thing: all((_text(thing, path) == value) != negated for path, negated, value in tests)


def _text(thing: Any, path: list[str]) -> str:
    if path == ["source"]:
        return thing.get("source", {}).get("component", "")
    for name in path:
        thing = thing.get(name) if isinstance(thing, dict) else None
    if isinstance(thing, bool):
        return str(thing).lower()
    return "" if thing is None else str(thing)
