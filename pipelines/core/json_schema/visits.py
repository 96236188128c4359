"""A validator that ends soon: it counts what it looks at, and asks no part of a schema twice of one value.

jsonschema asks each branch of `anyOf` and `oneOf` in full. In a schema that refers to itself, as one of a
filter with `and` and `or` does, that takes exponential time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from functools import cache
from typing import Any

from jsonschema import ValidationError
from jsonschema.validators import extend

from pipelines.core.json_texts import canonical

MAX_VISITS = 200_000  # keywords that are asked of values in one check; about a second


class TooComplex(Exception):
    """A check looked at more than it may."""


class Visits:
    """How much a check may still look at, and which values follow which parts, by their ids."""

    def __init__(self) -> None:
        self.left = MAX_VISITS
        self.known: dict[tuple[int, int], bool] = {}


_NOW: ContextVar[Visits] = ContextVar("visits")


@contextmanager
def counted() -> Iterator[None]:
    """One check. The value that is checked has to live as long: it is known by its id."""
    token = _NOW.set(Visits())
    try:
        yield
    finally:
        _NOW.reset(token)


def follows(validator: Any, value: Any, part: Any, resolver: Any = None) -> bool:
    """Whether a value follows a part of the validator's schema. Raises TooComplex."""
    known, key = _NOW.get().known, (id(value), id(part))
    if key not in known:
        known[key] = next(validator.descend(value, part, resolver=resolver), None) is None
    return known[key]


@cache
def bounded(kind: Any) -> Any:
    """A validator's class that counts. Its validators may be used inside `counted` only."""
    rules = kind.VALIDATORS | {name: rule for name, rule in _OWN.items() if name in kind.VALIDATORS}
    return extend(kind, {name: _counting(rule) for name, rule in rules.items()})


def _counting(rule: Callable[..., Any]) -> Callable[..., Any]:
    def ask(validator: Any, wanted: Any, value: Any, schema: Any) -> Any:
        visits = _NOW.get()
        visits.left -= 1
        if visits.left < 0:
            raise TooComplex
        return rule(validator, wanted, value, schema)

    return ask


def _any_of(validator: Any, parts: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not any(follows(validator, value, part) for part in parts):
        yield ValidationError(f"{_shown(value)} is not valid under any of the given schemas")


def _one_of(validator: Any, parts: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    count = sum(follows(validator, value, part) for part in parts)
    if count != 1:
        which = "more than one" if count else "any"
        yield ValidationError(f"{_shown(value)} is not valid under {which} of the given schemas")


def _multiple_of(validator: Any, step: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """As decimals: as floats 19.99 is no multiple of 0.01."""
    if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(step)):
        yield ValidationError(f"{value!r} is not a multiple of {step}")


def _unique_items(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and validator.is_type(value, "array") and len(set(map(canonical, value))) < len(value):
        yield ValidationError(f"{_shown(value)} has non-unique elements")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


_OWN = {"anyOf": _any_of, "oneOf": _one_of, "multipleOf": _multiple_of, "uniqueItems": _unique_items}
