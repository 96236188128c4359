"""What a delivered value means. Pure, and the same for every format: a CSV's `4` is a JSON's 4.

Each function returns the value, or None where it is missing, or raises Unfit.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

from pipelines.data.reader.text import is_sound, mended

MISSING_WORDS = {"", "nan", "null", "none", "nat", "<na>", "\\n"}  # in columns that are not text, in any case
LONGEST_WORD = max(map(len, MISSING_WORDS))
YES, NO = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}
INT32 = range(-(1 << 31), 1 << 31)
# A number is a time since 1970; its size says the unit. Seconds reach to the year 5138.
SECONDS, MILLISECONDS, MICROSECONDS = 10**11, 10**14, 10**17
FIRST, LAST = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)  # in any zone they are a date
RFC_2822 = re.compile(
    r"([A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d(:\d\d)? ([+-]\d{4}|GMT|UTC?|Z)", re.ASCII
)
SLASHES = re.compile(r"^(\d{4})/(\d\d)/(\d\d)", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN = 40  # characters of a value in an example
TWICE = ["stands", "twice"]  # fits no column of one value
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


def as_time(value: Any, zone: tzinfo) -> datetime | None:
    """A time in UTC: ISO 8601 (in `zone` where it names none), RFC 2822, or a number since 1970.

    The size of a number says its unit; eight digits that are a date are one. Other forms are refused:
    nobody knows whether 01/02/2026 is in January or February.
    """
    if is_blank(value):
        return None
    try:
        return _instant(value, zone)
    except (ValueError, OverflowError):
        raise Unfit(kind_of(value), shown(value)) from None


def _instant(value: Any, zone: tzinfo) -> datetime:
    if isinstance(value, str):
        value = _written(value.strip())
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = _date_in_digits(value) or _since_1970(value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ValueError
    moment = (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)
    if not FIRST < moment < LAST:
        raise ValueError
    return moment


def _written(text: str) -> Any:
    """The time or number that a text says."""
    if NUMBER.fullmatch(text):
        return int(text) if text.isdigit() else float(text)
    if RFC_2822.fullmatch(text):
        return parsedate_to_datetime(text)
    moment = datetime.fromisoformat(SLASHES.sub(r"\1-\2-\3", text.removesuffix(" UTC")))
    return moment.replace(tzinfo=UTC) if text.endswith(" UTC") and not moment.tzinfo else moment


def _date_in_digits(number: Any) -> datetime | None:
    """20260103 as a date, and 20260103080000 as a time. As numbers they would be in 1970 and in 2612."""
    digits = str(int(number)) if number == int(number) else ""
    form = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    with suppress(ValueError):
        return datetime.strptime(digits, form) if form and "1990" <= digits < "2100" else None
    return None


def _since_1970(number: Any) -> datetime:
    size = abs(number)
    if size < SECONDS:
        microseconds = round(number * 1_000_000)
    elif size < MILLISECONDS:
        microseconds = round(number * 1_000)
    else:
        microseconds = round(number) if size < MICROSECONDS else int(number) // 1_000
    return EPOCH + timedelta(microseconds=microseconds)


def as_tools(value: Any) -> str | None:
    """The tools that were offered, as JSON; None where there are none."""
    if is_blank(value):
        return None
    if isinstance(value, str):
        try:
            value = from_json(value)
        except (ValueError, RecursionError):
            raise Unfit("text that is not JSON") from None
    if not isinstance(value, list):
        raise Unfit(kind_of(value))
    return as_json(value) if value else None


def as_json(value: Any) -> str:
    """JSON of a value from a table: times and decimals become text. Raises Unfit for NaN."""
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str, allow_nan=False)
    except (ValueError, TypeError):
        raise Unfit("not a value of JSON") from None


def from_json(text: str) -> Any:
    """The value of a JSON text.

    Raises RecursionError or ValueError, also for a lone surrogate, and for a key that stands twice.
    """
    value = json.loads(text, object_pairs_hook=without_twins)
    if "\\ud" in text.lower() and not is_sound(json.dumps(value, ensure_ascii=False)):
        raise ValueError("a lone surrogate")
    return value


class Twins(ValueError):
    """An object has `key` twice, so that nobody knows which value is meant."""

    def __init__(self, key: str) -> None:
        self.key = key


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: the object. Raises Twins."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Twins(twice(pairs))
    return found


def unclear(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, with an unreadable value for each key that stands there twice."""
    counts = Counter(key for key, _ in pairs)
    return {key: value if counts[key] == 1 else TWICE for key, value in pairs}


def twice(pairs: list[tuple[str, Any]]) -> str:
    """The first key that stands there twice, shortened."""
    counts = Counter(key for key, _ in pairs)
    return shown(mended(next(key for key, count in counts.items() if count > 1)))


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
