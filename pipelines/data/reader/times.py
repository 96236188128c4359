"""Times as logs write them. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from pipelines.data.reader.cells import NUMBER, Unfit, is_blank, kind_of, shown

# A number is a time since 1970; its size says the unit. Seconds reach to the year 5138.
SECONDS, MILLISECONDS, MICROSECONDS = 10**11, 10**14, 10**17
FIRST, LAST = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)  # in any zone they are a date
RFC_2822 = re.compile(
    r"([A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d(:\d\d)? ([+-]\d{4}|GMT|UTC?|Z)", re.ASCII
)
SLASHES = re.compile(r"^(\d{4})/(\d\d)/(\d\d)", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
