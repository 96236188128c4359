"""`[ingest.rating]` for the values of a column: which are likes and dislikes. Pure.

A scale that the values do not settle is proposed with a doubt, which a person reads. Values that are not
understood are told by name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.core.config.columns import rating_key
from pipelines.data.reader import cells
from pipelines.operations.inspect.opinions import Share, family_of, opposites_of, share_of, side_of, thumbs_of

SIDES = ("good", "bad", "neutral")
MOST_VALUES = 40  # that a scale lists
LIKELY = 0.5  # of a column's values must be understood, else it is no rating
GOOD, BAD = 0.8, 0.4  # of the best, for stars and percent
SURE = ("thumb", "vote", "like", "reaction")  # in names: 1 is a like there, and 0 a dislike
LIMITS = [  # least and most value, where likes begin, where dislikes end
    (0, 1, 0.7, 0.3), (0, 5, 4, 2), (0, 10, 8, 4), (0, 100, 80, 40), (-1, 1, 0.3, -0.3), (-10, 10, 1, -1),
]  # fmt: skip
Settings = dict[str, Any]


@dataclass
class Scale:
    """`settings` of the table; {} where the default fits. `doubts` are sentences, `unread` values."""

    settings: Settings = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    read: float = 1.0  # share of the values that are understood


def scale_of(values: Sequence[Any], name: str = "rating") -> Scale:
    """The scale of a column, by its values and its name."""
    keys, foreign = _keys(values)
    shares = {key: found for key in keys if isinstance(key, str) and (found := share_of(key))}
    bare = {key: one.number for key, one in shares.items() if not one.top}  # 4,5
    numbers = sorted({key for key in keys if isinstance(key, float)} | set(bare.values()))
    settings, doubt = _number_scale(numbers, name) if numbers else (_sides(), "")
    unread: set[float | str] = set()
    if settings is None:
        unread, settings = {key for key in keys if isinstance(key, float) or key in bare}, _sides()
    words = [key for key in keys if isinstance(key, str) and key not in unread]
    if words:
        settings = settings or {"good": [1], "bad": [-1], "neutral": [0]}
        unread |= _add_words(settings, words, shares)
    lost = sum(keys[key] for key in unread) + foreign
    is_empty = not any(settings.get(side) for side in ("good", "bad")) and "good_from" not in settings
    return Scale(
        settings={} if is_empty else settings,
        doubts=[doubt] if doubt and not unread else [],
        unread=[_written(key) for key, _ in keys.most_common() if key in unread],
        read=1 - lost / max(1, keys.total() + foreign),
    )


def opinions_in(values: Sequence[Any], is_vague: bool) -> bool:
    """Whether a column's values look like ratings. `is_vague`: by its name it may be a model's own score."""
    keys, _ = _keys(values)
    if is_vague and any(isinstance(key, float) and (key != int(key) or not -1 <= key <= 10) for key in keys):
        return False
    is_short = len(keys) <= MOST_VALUES or all(isinstance(key, float) for key in keys)
    return is_short and scale_of(values).read >= LIKELY


def _keys(values: Sequence[Any]) -> tuple[Counter[float | str], int]:
    """The different ratings, and how many values can be none."""
    known = [value for value in values if not cells.is_blank(value)]
    plain = [value for value in known if isinstance(value, bool | int | float | str)]
    keys = map(rating_key, plain)
    finite = [key if isinstance(key, str) or math.isfinite(key) else str(key) for key in keys]
    return Counter(finite), len(known) - len(finite)


def _sides() -> Settings:
    return {side: [] for side in SIDES}


def _number_scale(numbers: list[float], name: str) -> tuple[Settings | None, str]:
    """The settings and a doubt, or "". {}: the default. None: no scale is known."""
    least, most, found = numbers[0], numbers[-1], set(numbers)
    listed = f"{', '.join(f'{number:g}' for number in numbers[:8])}{' ...' if len(numbers) > 8 else ''}"
    if found <= {0.0, 1.0}:
        return _zero_or_one(found, name)
    if found <= {-1.0, 0.0, 1.0}:
        return {}, ""
    if found <= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}:
        doubt = "" if most == 5 else f"The values are {listed}. They are read as of 5."
        return {"good": [4, 5], "bad": [0, 1, 2], "neutral": [3]}, doubt
    for low, high, good, bad in LIMITS:
        if least >= low and most <= high:
            return {**_sides(), "good_from": good, "bad_to": bad}, (
                f"The values go from {least:g} to {most:g}. Likes are read from {good:g} on, dislikes up to "
                f"{bad:g}."
            )
    return None, ""


def _zero_or_one(found: set[float], name: str) -> tuple[Settings, str]:
    """0 and 1 are few values of any scale."""
    if "star" in name.lower():
        return {"good": [4, 5], "bad": [0, 1, 2], "neutral": [3]}, (
            "The only values are 0 or 1. They are read as stars of 5, so all are dislikes: is that so?"
        )
    is_sure = any(word in name.lower() for word in SURE)
    if found == {1.0}:
        return {}, "" if is_sure else "The only value is 1. It is read as a like: is it no star of 5?"
    doubt = (
        "0 is read as a dislike, because -1 does not come. If 0 is neither, write bad = [-1], neutral = [0]."
    )
    return {"good": [1], "bad": [0], "neutral": []}, "" if is_sure else doubt


def _add_words(settings: Settings, words: list[str], shares: dict[str, Share]) -> set[float | str]:
    """Put each word on its side. Returns those that have none."""
    family = {one: share for word in words if word in shares for one, share in family_of(word, shares[word])}
    thumbs = [one for word in words for one in thumbs_of(word)]
    every = dict.fromkeys([*words, *family, *thumbs])
    sides = {word: _side(word, (family | shares).get(word), settings) for word in every}
    known = [word for word, side in sides.items() if side]
    if len(known) > MOST_VALUES:
        return {*words}
    for side in SIDES:
        settings[side] = [*settings[side], *sorted(word for word in known if sides[word] == side)]
    for here, there in (("good", "bad"), ("bad", "good")):
        if not settings[there]:
            settings[there] = opposites_of(
                [one for one in settings[here] if isinstance(one, str)], here == "good"
            )
    return {word for word in words if not sides[word]}


def _side(word: str, share: Share | None, settings: Settings) -> str | None:
    if share is None:
        return side_of(word)
    if share.top:
        part = share.number / share.top
        return "good" if part >= GOOD else "bad" if part <= BAD else "neutral"
    if "good_from" in settings:
        return (
            "good"
            if share.number >= settings["good_from"]
            else "bad"
            if share.number <= settings["bad_to"]
            else "neutral"
        )
    return next((side for side in SIDES if share.number in settings[side]), None)


def _written(key: float | str) -> str:
    return f"{key:g}" if isinstance(key, float) else key
