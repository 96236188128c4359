"""Patches as our clients and kubectl send them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests.support.kubernetes.status import ApiError

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
# The key that finds an element of a list again; a list that is not here is replaced as a whole.
KEYS = {
    "containers": "name", "initContainers": "name", "env": "name", "volumes": "name",
    "volumeMounts": "mountPath", "conditions": "type", "ports": "port", "imagePullSecrets": "name",
    "ownerReferences": "uid",
    "taints": "key",
}  # fmt: skip
SETS = ("finalizers",)


def patched(thing: dict[str, Any], patch: Any, content_type: str) -> dict[str, Any]:
    """The object with the patch. Raises 415 for a type that the server does not take."""
    if content_type == JSON:
        return _operations(deepcopy(thing), patch)
    if content_type == MERGE:
        return _merge(thing, patch)
    if content_type in (STRATEGIC, APPLY):
        return _strategic(thing, patch)
    known = f"{JSON}, {MERGE}, {STRATEGIC}, {APPLY}"
    text = "the body of the request was in an unknown format - accepted media types include"
    raise ApiError(415, f"{text}: {known}")


def _operations(thing: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """The operations add, replace, remove and test of RFC 6902."""
    for one in patch:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]]
        try:
            where: Any = thing
            for part in path:
                where = where[int(part)] if isinstance(where, list) else where[part]
            _operate(where, last, one)
        except (KeyError, IndexError, ValueError) as error:
            text = "the server rejected our request due to an error in our request"
            raise ApiError(422, text, "Invalid") from error
    return thing


def _operate(where: Any, last: str, one: dict[str, Any]) -> None:
    key: Any = last
    if isinstance(where, list):
        key = len(where) if last == "-" else int(last)
    if one["op"] == "add" and isinstance(where, list):
        where.insert(key, one["value"])
    elif one["op"] == "add":
        where[key] = one["value"]
    elif one["op"] == "replace":
        where[key]  # it must be there
        where[key] = one["value"]
    elif one["op"] == "remove":
        del where[key]
    elif where[key] != one["value"]:
        raise ValueError("the test failed")


def _merge(thing: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(thing) if isinstance(thing, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge(result.get(name), value)
    return result


def _strategic(thing: Any, patch: dict[str, Any]) -> Any:
    if patch.get("$patch") == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    result = dict(thing) if isinstance(thing, dict) else {}
    for name, value in patch.items():
        if name == "$retainKeys":
            result = {key: old for key, old in result.items() if key in value}
        elif name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            result[field] = [one for one in result.get(field) or [] if one not in value]
        elif name.startswith("$"):
            continue  # $setElementOrder: the order of elements carries no meaning here
        elif value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = _strategic(result.get(name), value)
        elif isinstance(value, list):
            result[name] = _list(name, result.get(name) or [], value)
        else:
            result[name] = value
    return result


def _list(name: str, old: list[Any], new: list[Any]) -> list[Any]:
    if name in SETS:
        return old + [one for one in new if one not in old]
    key = KEYS.get(name)
    if key == "port" and any("containerPort" in one for one in new + old):
        key = "containerPort"
    if key is None:
        return new
    merged = {one.get(key): one for one in old}
    for one in new:
        if one.get("$patch") == "replace":
            merged = {}
        elif one.get("$patch") == "delete":
            merged.pop(one.get(key), None)
        else:
            merged[one.get(key)] = _strategic(merged.get(one.get(key)), one)
    return list(merged.values())
