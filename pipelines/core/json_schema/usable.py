"""Whether a schema can be used: it is one, holds all that it refers to, and comes to an end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from jsonschema import Draft3Validator, Draft202012Validator, SchemaError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, specification_with

Part = tuple[Any, Any]  # a schema or a part of it, and what resolves the references in it
UNKNOWN = ("$dynamicRef", "$recursiveRef")  # what they mean depends on how one came to them
SAME_VALUE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")  # they ask parts of the same value
BY_KEY = ("dependentSchemas", "dependencies")  # the same, where the value has a key


def kind_of(schema: Mapping[str, Any]) -> Any:
    """The validator's class of the draft that a schema names; the newest one where it names none."""
    return validator_for(schema, default=Draft202012Validator)


class Root:
    """A schema as a whole, by the rules of its draft. References are resolved within it alone."""

    def __init__(self, schema: Mapping[str, Any], kind: Any) -> None:
        self.schema, self.kind = schema, kind
        self._draft: Any = specification_with(kind.META_SCHEMA["$schema"], default=DRAFT202012)
        self.part: Part = schema, Registry().resolver_with_root(self._draft.create_resource(schema))

    def parts_of(self, part: Part) -> list[Part]:
        """The parts that stand in a part."""
        inner = self._draft.create_resource(part[0]).subresources()
        return [(one.contents, part[1].in_subresource(one)) for one in inner]

    def part_in(self, schema: Any, resolver: Any) -> Part:
        """A part that stands in another one, whose resolver it is."""
        return schema, resolver.in_subresource(self._draft.create_resource(schema))


def check_usable(schema: Mapping[str, Any]) -> None:
    """Raises ValueError with what is wrong, as the end of a sentence that begins with the schema's name."""
    try:
        json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"holds a value that is no JSON ({error}): write a date as text, and no inf or nan"
        ) from None
    if not isinstance(schema.get("$schema", ""), str) or kind_of(schema) is Draft3Validator:
        raise ValueError('names no draft of JSON schema that is known here: leave "$schema" out')
    try:
        _check_parts(Root(schema, kind_of(schema)))
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _check_parts(root: Root) -> None:
    """Of every part of the schema: what it refers to is one, and it does not ask itself."""
    _check_schema(root.schema, root)
    asks: dict[int, set[int]] = {}  # by part: those that it asks of the same value
    left = [root.part]
    while left:
        schema, _ = part = left.pop()
        if id(schema) in asks or not isinstance(schema, Mapping):
            continue
        _check_keywords(schema, root)
        targets = _targets(part, asks, root)
        asks[id(schema)] = {id(one) for one in [*_same_value(schema), *(target for target, _ in targets)]}
        left += [*targets, *root.parts_of(part)]
    try:
        TopologicalSorter(asks).prepare()
    except CycleError:
        raise ValueError("refers to itself in a circle that never comes to an end") from None


def _check_schema(schema: Any, root: Root) -> None:
    try:
        root.kind.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"is no JSON schema: {error.message[:200]} (at {error.json_path})") from None


def _check_keywords(schema: Mapping[str, Any], root: Root) -> None:
    if found := [name for name in UNKNOWN if name in schema]:
        raise ValueError(f'uses "{found[0]}", which is not known here: use "$ref"')
    if "$schema" in schema and schema is not root.schema:
        raise ValueError('names a "$schema" in one of its parts: only the whole may name one')


def _targets(part: Part, known: Mapping[int, Any], root: Root) -> list[Part]:
    """The part that a part refers to, if it does."""
    schema, resolver = part
    if "$ref" not in schema:
        return []
    try:
        found = resolver.lookup(schema["$ref"])
    except (Unresolvable, ValueError, TypeError):
        raise ValueError(f"refers to {schema['$ref']!r}, which it does not hold") from None
    if id(found.contents) not in known:
        _check_schema(found.contents, root)
    return [(found.contents, found.resolver)]


def _same_value(schema: Mapping[str, Any]) -> Iterator[Any]:
    for name in SAME_VALUE:
        found = schema.get(name)
        yield from found if isinstance(found, list) else [found]
    for name in BY_KEY:
        yield from schema.get(name, {}).values()
