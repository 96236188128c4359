"""Scores of answers that are JSON: is it JSON, does it follow a schema, and which of its fields are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipelines.core.errors import ConfigError
from pipelines.core.json_schema import Schema
from pipelines.core.json_texts import NotJson, children_of, json_of
from pipelines.core.spelling import answer_form
from pipelines.evaluation.scorers.common import f1

MAX_PAIRS = 100_000  # of fields that may be compared; in larger answers lists are compared in their order


def valid_json(answer: str, reference: str) -> float:
    """1 where the answer is one JSON value and nothing else."""
    try:
        json_of(answer)
    except NotJson:
        return 0.0
    return 1.0


def schema_rule(schema: Mapping[str, Any]) -> Callable[[str, str], float]:
    """A rule that gives 1 to an answer which follows the schema. Raises ConfigError for a broken schema."""
    try:
        checked = Schema(schema)
    except ValueError as error:
        raise ConfigError(f"The JSON schema {error}.", "Correct task.json_schema.") from None

    def follows_schema(answer: str, reference: str) -> float:
        try:
            return float(not checked.fault(json_of(answer)))
        except NotJson:
            return 0.0

    return follows_schema


def field_f1(answer: str, reference: str) -> float:
    """F1 of the fields of two JSON values.

    A field is a value with the path to it. Texts are compared as `normalised` does, numbers by value. The
    order of a list does not count: its items are paired so that most fields agree (Kuhn 1955, "The Hungarian
    Method for the Assignment Problem"). An answer that is no JSON scores 0. So does one to a reference that
    is none, unless they are the same text.
    """
    if answer.strip() == reference.strip():
        return 1.0
    try:
        found, wanted = json_of(answer), json_of(reference)
    except NotJson:
        return 0.0
    sizes = _fields(found), _fields(wanted)
    return f1(_agreeing(found, wanted, in_order=sizes[0] * sizes[1] > MAX_PAIRS), *sizes)


def _fields(value: Any) -> int:
    """How many values stand in it; an empty object or list is one."""
    return sum(map(_fields, children_of(value))) or 1


def _agreeing(found: Any, wanted: Any, in_order: bool) -> int:
    """How many fields agree."""
    if isinstance(found, dict) and isinstance(wanted, dict) and (found or wanted):
        shared = found.keys() & wanted.keys()
        return sum(_agreeing(found[key], wanted[key], in_order) for key in shared)
    if isinstance(found, list) and isinstance(wanted, list) and (found or wanted):
        return _agreeing_items(found, wanted, in_order)
    return int(_comparable(found) == _comparable(wanted))


def _agreeing_items(found: list[Any], wanted: list[Any], in_order: bool) -> int:
    if in_order:
        return sum(_agreeing(one, other, in_order) for one, other in zip(found, wanted, strict=False))
    plain = [Counter(_comparable(item) for item in items if _is_plain(item)) for items in (found, wanted)]
    nested = [[item for item in items if not _is_plain(item)] for items in (found, wanted)]
    pairs = np.array([[_agreeing(one, other, in_order) for other in nested[1]] for one in nested[0]])
    best = int(pairs[linear_sum_assignment(pairs, maximize=True)].sum()) if pairs.size else 0
    return best + (plain[0] & plain[1]).total()


def _is_plain(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _comparable(value: Any) -> tuple[str, Any]:
    """Its kind beside it, because Python takes True for 1."""
    if isinstance(value, str):
        return "text", answer_form(value) or value.strip()
    if isinstance(value, dict | list):  # an empty one, or one that stands where the other has another kind
        return type(value).__name__, "" if not value else id(value)
    return ("number" if not isinstance(value, bool | None) else "constant"), value
