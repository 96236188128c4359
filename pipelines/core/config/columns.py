"""Settings that say what a log means: names, rating scales, the time zone, the encoding."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import model_validator

from pipelines.core.config.base import Section

Scalar = bool | int | float | str


class RatingScale(Section):
    """`[ingest.rating]`: which values are a like (1), a dislike (-1) or neither (0). Any other is refused.

    A text matches in any case, and `4` matches `"4"`, because CSV does not tell them apart.
    """

    good: tuple[Scalar, ...] = (1,)  # likes: numbers, words, true or false
    bad: tuple[Scalar, ...] = (-1,)  # dislikes
    neutral: tuple[Scalar, ...] = (0,)  # neither
    good_from: float | None = None  # numbers from here on are likes
    bad_to: float | None = None  # numbers up to here are dislikes; those between the two are neither

    @model_validator(mode="after")
    def _is_a_scale(self) -> RatingScale:
        sides = [{rating_key(value) for value in side} for side in (self.good, self.bad, self.neutral)]
        if twice := (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2]):
            raise ValueError(f"{sorted(map(str, twice))[0]} is on two sides of the scale")
        if (self.good_from is None) != (self.bad_to is None):
            raise ValueError("set good_from and bad_to together")
        if self.good_from is not None and self.bad_to is not None and self.good_from <= self.bad_to:
            raise ValueError(f"good_from ({self.good_from:g}) must be above bad_to ({self.bad_to:g})")
        return self


def rating_key(value: Scalar) -> float | str:
    """Equal for values that are one rating: 4, 4.0 and "4"; "Up" and "up"; true and "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return float(value)
    except (ValueError, OverflowError):
        return str(value).strip().lower()


def mapped_columns(columns: dict[str, str], known: Sequence[str]) -> dict[str, str]:
    """The same mapping. Raises ValueError for a name that is not ours, or an empty one of theirs."""
    for ours, theirs in columns.items():
        if ours not in known:
            near = get_close_matches(ours, known, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; these are: {', '.join(known)}"
            raise ValueError(f"{ours} is none of our columns{meant}")
        if not theirs.strip():
            raise ValueError(f"{ours} names no column")
    return columns


def known_encoding(name: str) -> str:
    """The same name. Raises ValueError where Python reads no text in it."""
    try:
        if name:
            "".encode(name)
    except LookupError:
        raise ValueError(f'{name!r} is no encoding of text, such as "windows-1252"') from None
    return name


def known_zone(name: str) -> str:
    """The same name. Raises ValueError where it is no IANA time zone."""
    zone_of(name)
    return name


def zone_of(name: str) -> tzinfo:
    """A time zone by its IANA name."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'{name!r} is no IANA time zone, such as "Europe/Berlin"') from None
