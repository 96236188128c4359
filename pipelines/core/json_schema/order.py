"""Keys of an answer in the order in which the gateway's grammar writes them: that of the schema's text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pipelines.core.json_schema.usable import Part, Root
from pipelines.core.json_schema.visits import follows
from pipelines.core.json_texts import same_value

EXACT = 2**53  # from here on a float does not hold every whole number


class Order:
    """Of a schema, whose validator it asks which branch of it a value follows."""

    def __init__(self, root: Root, validator: Any) -> None:
        self._root, self._validator = root, validator

    def of(self, value: Any) -> Any:
        """A value that follows the schema, in order, and whole numbers without a point.

        Keys that the schema does not name come last, by the alphabet: one value has one form.
        """
        return self._ordered(value, [self._root.part])

    def _ordered(self, value: Any, asked: Iterable[Part]) -> Any:
        if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
            return int(value)
        if not isinstance(value, dict | list):
            return value
        parts = _once(part for one in asked for part in self._in_place(value, one))
        if constant := next(_constants(value, parts), None):
            return self._ordered(constant, [])
        if isinstance(value, list):
            return [
                self._ordered(one, self._inner(parts, _for_item, place)) for place, one in enumerate(value)
            ]
        keys = dict.fromkeys(key for schema, _ in parts for key in schema.get("properties", ()))
        needed = dict.fromkeys(key for schema, _ in parts for key in schema.get("required", ()))
        found = [key for key in keys | needed | dict.fromkeys(sorted(value)) if key in value]
        return {key: self._ordered(value[key], self._inner(parts, _for_key, key)) for key in found}

    def _in_place(self, value: Any, part: Part) -> Iterator[Part]:
        """A part and those that it asks of the same value, in the order in which they stand in it."""
        schema, resolver = part
        if not isinstance(schema, Mapping):
            return
        if "properties" not in schema:
            yield part
        for name, argument in schema.items():
            if name == "properties":
                yield part
            elif name == "$ref":
                found = resolver.lookup(argument)
                yield from self._in_place(value, (found.contents, found.resolver))
            else:
                for one in self._asked(value, name, argument, part):
                    yield from self._in_place(value, one)

    def _asked(self, value: Any, name: str, argument: Any, part: Part) -> Sequence[Part]:
        """The parts that a keyword asks of the same value: of several branches the first that it follows."""
        schema, resolver = part
        if name == "allOf":
            return self._parts(argument, resolver)
        if name in ("anyOf", "oneOf"):
            branches = (one for one in self._parts(argument, resolver) if self._follows(value, one))
            return [*islice(branches, 1)]
        if name == "if":
            (condition,) = self._parts([argument], resolver)
            chosen = "then" if self._follows(value, condition) else "else"
            return self._parts([schema.get(chosen)], resolver)
        if name == "dependentSchemas" and isinstance(value, dict):
            return self._parts([one for key, one in argument.items() if key in value], resolver)
        return []

    def _follows(self, value: Any, part: Part) -> bool:
        return follows(self._validator, value, *part)

    def _parts(self, schemas: Iterable[Any], resolver: Any) -> list[Part]:
        return [self._root.part_in(one, resolver) for one in schemas if isinstance(one, Mapping | bool)]

    def _inner(self, parts: Sequence[Part], of: Any, place: Any) -> list[Part]:
        return _once(one for schema, resolver in parts for one in self._parts(of(schema, place), resolver))


def _once(parts: Iterable[Part]) -> list[Part]:
    return [*{id(schema): (schema, resolver) for schema, resolver in parts}.values()]


def _constants(value: Any, parts: Iterable[Part]) -> Iterator[Any]:
    """The object or list that a part names as a whole, as it stands there."""
    for schema, _ in parts:
        named = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
        yield from (one for one in named if same_value(one, value))


def _for_item(schema: Mapping[str, Any], place: int) -> list[Any]:
    """What a part asks of an item. Older drafts have the first ones in `items`."""
    items, first = schema.get("items"), schema.get("prefixItems", [])
    if isinstance(items, list):
        first, items = items, schema.get("additionalItems")
    return [first[place]] if place < len(first) else [items, schema.get("unevaluatedItems")]


def _for_key(schema: Mapping[str, Any], key: str) -> list[Any]:
    """What a part asks of the value of a key."""
    named = [part for name, part in schema.get("properties", {}).items() if name == key]
    alike = [part for name, part in schema.get("patternProperties", {}).items() if re.search(name, key)]
    return [*named, *alike] or [schema.get("additionalProperties"), schema.get("unevaluatedProperties")]
