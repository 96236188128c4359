"""Which changes between two OpenAPI descriptions break a client: what it may send no more, or may get now.

More may always be taken from a client, and an answer may have more fields. Nothing else may change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
LOWER, UPPER = ("minimum", "exclusiveMinimum", "minLength", "minItems"), ("maximum", "exclusiveMaximum")
UPPER += ("maxLength", "maxItems")
MOST_DEPTH = 12  # schemas that refer to themselves are compared so far


def breaking(old: Schema, new: Schema) -> list[str]:
    """One sentence a change, "" none. Both are whole descriptions."""
    return [*_operations(old, new)]


def _operations(old: Schema, new: Schema) -> Iterator[str]:
    for path, operations in old["paths"].items():
        for method, operation in operations.items():
            name, now = f"{method.upper()} {path}", new["paths"].get(path, {}).get(method)
            if now is None:
                yield f"{name} is gone"
                continue
            sent, sends = (_body(one.get("requestBody")) for one in (operation, now))
            if sends is not None:
                wider = _Comparison(new, old, f"{name}: the body", "is taken no more")
                yield from wider.fits(sent or {}, sends)
            for status, answer in operation["responses"].items():
                if status not in now["responses"]:
                    yield f"{name} has no answer {status} any more"
                    continue
                got, gets = _body(answer), _body(now["responses"][status])
                if got is not None:
                    narrower = _Comparison(old, new, f"{name}: answer {status}", "is new in answers")
                    yield from narrower.fits(gets or {}, got)


def _body(found: Schema | None) -> Schema | None:
    content = (found or {}).get("content", {})
    schema: Schema | None = content.get("application/json", {}).get("schema")
    return schema


class _Comparison:
    """Whether all that fits `one` also fits `other`. `wide` describes `other`, `narrow` describes `one`."""

    def __init__(self, wide: Schema, narrow: Schema, place: str, verb: str) -> None:
        self._wide, self._narrow, self._place, self._verb = wide, narrow, place, verb
        self._is_answer = "answer" in place

    def fits(self, one: Schema, other: Schema, at: str = "", depth: int = 0) -> Iterator[str]:
        one, other = _resolved(self._narrow, one), _resolved(self._wide, other)
        if (one == other and "$ref" not in str(one)) or depth > MOST_DEPTH:
            return
        ways, others = _branches(one), _branches(other)
        if len(ways) > 1 or len(others) > 1:
            for way in ways:
                if not any(not [*self.fits(way, each, at, depth + 1)] for each in others):
                    yield f"{self._place}{at}: {_named(self._narrow, way)} {self._verb}"
            return
        yield from self._single(one, other, at, depth)

    def _single(self, one: Schema, other: Schema, at: str, depth: int) -> Iterator[str]:
        if "type" in other and one.get("type") not in (other["type"], *_within(other["type"])):
            yield f"{self._place}{at}: {one.get('type', 'any type')} {self._verb}"
            return
        yield from self._values(one, other, at)
        yield from self._fields(one, other, at, depth)
        if "items" in other and "items" in one and one.get("maxItems") != 0:
            yield from self.fits(one["items"], other["items"], f"{at}[]", depth + 1)

    def _values(self, one: Schema, other: Schema, at: str) -> Iterator[str]:
        allowed, values = _values_of(other), _values_of(one)
        if allowed is not None and values is None:
            yield f"{self._place}{at}: any value {self._verb}"
        elif allowed is not None:
            yield from (f"{self._place}{at}: {v!r} {self._verb}" for v in values or () if v not in allowed)
        for name in LOWER:
            if name in other and one.get(name, float("-inf")) < other[name]:
                yield f"{self._place}{at}: less than {name} {other[name]} {self._verb}"
        for name in UPPER:
            if name in other and one.get(name, float("inf")) > other[name]:
                yield f"{self._place}{at}: more than {name} {other[name]} {self._verb}"
        if "pattern" in other and one.get("pattern") != other["pattern"] and values is None:
            yield f"{self._place}{at}: what does not match {other['pattern']} {self._verb}"

    def _fields(self, one: Schema, other: Schema, at: str, depth: int) -> Iterator[str]:
        known, fields = other.get("properties", {}), one.get("properties", {})
        for name in other.get("required", []):
            if name not in one.get("required", []):
                yield f"{self._place}{at}.{name}: its absence {self._verb}"
        for name, schema in fields.items():
            if name in known:
                yield from self.fits(schema, known[name], f"{at}.{name}", depth + 1)
            elif other.get("additionalProperties") is False and not self._is_answer:
                yield f"{self._place}{at}.{name} {self._verb}"


def _resolved(whole: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        schema = whole["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _branches(schema: Schema) -> list[Schema]:
    found: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return found


def _named(whole: Schema, schema: Schema) -> str:
    found = _resolved(whole, schema)
    return str(found.get("title") or found.get("const") or found.get("type") or "a value")


def _within(kind: Any) -> tuple[str, ...]:
    return ("integer",) if kind == "number" else ()


def _values_of(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")
