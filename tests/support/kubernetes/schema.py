"""Strict validation with the schemas of `kubernetes-validate`."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
from kubernetes_validate.utils import schema_contents
from referencing import Registry
from referencing import Resource as Schema

from tests.support.kubernetes.resources import Resource
from tests.support.kubernetes.status import ApiError, invalid

VERSION = kubernetes_validate.latest_version()
FOLDER = f"kubernetes-json-schema/v{VERSION}-local-strict"


@cache
def _registry() -> Registry:
    definitions = schema_contents(f"{FOLDER}/_definitions.json", VERSION)
    return Schema.from_contents(definitions) @ Registry()


@cache
def _validator(kind: str, api_version: str) -> Any:
    short = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = schema_contents(f"{FOLDER}/{kind.lower()}-{short}.json", VERSION)
    return jsonschema.Draft202012Validator(schema, registry=_registry())


def validate(resource: Resource, thing: dict[str, Any]) -> None:
    """Raise 400 for a field that the kind does not have or that has a wrong type, 422 for a missing one."""
    if not resource.schema:
        return
    found = list(_validator(resource.kind, resource.api_version).iter_errors(thing))
    if not found:
        return
    error = jsonschema.exceptions.best_match(found)
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    path = path.lstrip(".")
    if error.validator == "additionalProperties":
        names = sorted(set(error.instance) - set(error.schema.get("properties", {})))
        texts = ", ".join(f'unknown field "{path}{"." if path else ""}{name}"' for name in names)
        raise ApiError(400, f"strict decoding error: {texts}")
    if error.validator == "required":
        name = (thing.get("metadata") or {}).get("name", "")
        missing = error.message.split("'")[1]
        field = f"{path}.{missing}" if path else missing
        cause = (field, "FieldValueRequired", "Required value")
        raise invalid(resource.kind, resource.group, name, [cause])
    text = (
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
        f"json: cannot unmarshal into field {path}: {error.message}"
    )
    raise ApiError(400, text)
