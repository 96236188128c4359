"""What a delivered value means. Pure, and the same for every format: a CSV's `4` is a JSON's 4.

Each function returns the value, or None where it is missing, or raises Unfit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

MISSING_WORDS = {"", "nan", "null", "none", "nat", "<na>", "\\n"}  # in columns that are not text, in any case
LONGEST_WORD = max(map(len, MISSING_WORDS))
YES, NO = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}
INT32 = range(-(1 << 31), 1 << 31)
SHOWN = 40  # characters of a value in an example
EXACT = 1 << 53  # from here on a float does not hold every whole number
SCIENTIFIC = re.compile(r"\d(\.\d+)?[eE]\+\d+", re.ASCII)  # as spreadsheets write long numbers
WHOLE = re.compile(r"[+-]?\d+\.0", re.ASCII)  # as tables write the ids of a column with gaps
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Unfit(Exception):
    """A value that is not of its column's kind. `what` says what it is, `found` shows it."""

    def __init__(self, what: str, found: str = "") -> None:
        self.what, self.found = what, found


def is_missing(value: Any) -> bool:
    """Null and NaN, which writers of tables use for null."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_blank(value: Any) -> bool:
    """Missing, or a text that says so. Only for columns that are not text."""
    if isinstance(value, str):
        return value.strip().lower() in MISSING_WORDS
    return is_missing(value)


def as_id(value: Any) -> str | None:
    """A name or id; a word for nothing is none, such as None or nan."""
    name = as_name(value)
    return None if name is not None and len(name) <= LONGEST_WORD and name.lower() in MISSING_WORDS else name


def as_name(value: Any) -> str | None:
    """A text without the space around it; a blank one is none. 123 and 123.0 become "123"."""
    if is_missing(value):
        return None
    if isinstance(value, str):
        name = value.strip()
        if "+" in name and SCIENTIFIC.fullmatch(name):
            raise Unfit("a number that lost digits", shown(name))
        return name[:-2] if name.endswith(".0") and WHOLE.fullmatch(name) else name or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and abs(value) >= EXACT:
        raise Unfit("a number that lost digits", shown(value))
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    if isinstance(value, UUID):
        return str(value)
    raise Unfit(kind_of(value))


def as_text(value: Any) -> str | None:
    """A text. Nothing else becomes one: a number is not an answer in words."""
    if is_missing(value):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, Exception):  # a format says why it has none
        raise value
    raise Unfit(kind_of(value))


def as_number(value: Any) -> float | None:
    """A finite number, also one that is written as text."""
    if is_blank(value):
        return None
    if isinstance(value, str):
        text = value.strip()
        if not NUMBER.fullmatch(text):
            raise Unfit(kind_of(value), shown(value))
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unfit(kind_of(value), shown(value))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Unfit("an infinite number", shown(value))
    return number


def as_int32(value: Any) -> int | None:
    """A whole number, also 12.0 and "12"."""
    number = as_number(value)
    if number is None:
        return None
    if number != int(number) or int(number) not in INT32:
        raise Unfit("another number", shown(value))
    return int(number)


def as_bool(value: Any) -> bool | None:
    """True or false, also as 1 and 0 or in words."""
    if is_blank(value):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal) and value in (0, 1):
        return bool(value)
    word = value.strip().lower().removesuffix(".0") if isinstance(value, str) else None
    if word in YES or word in NO:
        return word in YES
    raise Unfit(kind_of(value), shown(value))


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float() | Decimal():
            return "a number"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case bytes():
            return "bytes"
        case datetime() | date():
            return "a time"
    return "something else"


def shown(value: Any) -> str:
    """A short piece of a value, for a person who looks for the cause; nothing of lists and objects."""
    text = "" if isinstance(value, list | tuple | Mapping | bytes) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
