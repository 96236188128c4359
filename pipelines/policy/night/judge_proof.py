"""Whether an LLM judge decides as people do. Pure.

People made choices between two answers: they corrected one of them, or compared both. The judge has proved
itself where, with an error rate of alpha each,
- it agrees with people often enough (a tie counts half),
- it agrees often enough in each of three parts, too: where people chose the longer answer, where they chose
  the shorter one, and in the half whose two answers are most alike,
- it prefers neither a place nor a length beyond a limit.
All of it has to hold, so a judge that lacks one thing passes by chance in at most alpha of its proofs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from pipelines.core.config import Judge
from pipelines.core.facts.common import Interval
from pipelines.core.facts.judge import JudgeProof
from pipelines.policy.night.caps import LEAST_PEOPLE
from pipelines.policy.stats.paired import mean_limits

SHARE, SIGNED = (0.0, 1.0), (-1.0, 1.0)  # the bounds of a value
Units = Sequence[tuple[Hashable, float]]  # whose choice, and a value of it


class Compared(NamedTuple):
    """A choice of a person and the judge's verdict on it."""

    person: Hashable
    agreement: float  # 1 the same choice, 0 the other one, 0.5 a tie
    first: float  # 1: the first answer in both orders; -1: the second; 0: no preference of a place
    longer: int  # 1: people chose the longer answer, -1: the shorter one, 0: both are as long
    alike: float  # how alike the two answers are
    name: str = ""  # a digest of the pair: of those that are as alike, it says which come first


def prove(
    compared: Sequence[Compared],
    unreadable: int,
    unjudged: int,
    settings: Judge,
    digest: str,
    night: date,
) -> JudgeProof:
    """Compare a judge with people's choices. `unreadable` and `unjudged` count choices without a verdict."""
    people = len({one.person for one in compared})
    is_grouped, alpha = people >= LEAST_PEOPLE, settings.alpha
    parts = {
        "agreement": compared,
        "on_longer": [one for one in compared if one.longer > 0],
        "on_shorter": [one for one in compared if one.longer < 0],
        "on_alike": _most_alike(compared),
    }
    shares = {
        name: _mean([(one.person, one.agreement) for one in part], SHARE, alpha, is_grouped)
        for name, part in parts.items()
    }
    found = JudgeProof(
        digest=digest,
        night=night,
        window_days=settings.window_days,
        choices=len(compared),
        people=people,
        unreadable=unreadable,
        unjudged=unjudged,
        agreement=shares["agreement"],
        on_longer=shares["on_longer"],
        on_shorter=shares["on_shorter"],
        on_alike=shares["on_alike"],
        position_bias=_mean([(one.person, one.first) for one in compared], SIGNED, alpha, is_grouped),
        length_bias=_difference(shares["on_longer"], shares["on_shorter"]),
    )
    return found.model_copy(update={"lacks": tuple(_lacks(found, settings))})


def _most_alike(compared: Sequence[Compared]) -> list[Compared]:
    """The half whose two answers are most alike, and no more of them where many are as alike."""
    ordered = sorted(compared, key=lambda one: (-one.alike, one.name))
    return ordered[: math.ceil(len(ordered) / 2)]


def _lacks(found: JudgeProof, settings: Judge) -> Iterable[str]:
    """What is not proved, each in words."""
    if not found.choices:
        yield f"no choice of people from {settings.window_days} days was judged"
        return
    asked = found.choices + found.unreadable
    if found.unreadable > settings.max_unreadable * asked:
        yield f"{found.unreadable} of {asked} verdicts could not be read"
    in_parts = settings.min_agreement_in_parts
    parts = (
        ("all choices", found.agreement, settings.min_agreement),
        ("choices of the longer answer", found.on_longer, in_parts),
        ("choices of the shorter answer", found.on_shorter, in_parts),
        ("choices between answers that are alike", found.on_alike, in_parts),
    )
    for words, share, least in parts:
        if share is None:
            yield f"there are no {words}"
        elif share.low <= least:
            yield f"it may agree with only {share.low:.0%} of {words}, and more than {least:.0%} is asked for"
    for words, bias, most in (
        ("a place", found.position_bias, settings.max_position_bias),
        ("a length", found.length_bias, settings.max_length_bias),
    ):
        if bias is not None and max(-bias.low, bias.high) > most:
            yield f"it may prefer {words} by {max(-bias.low, bias.high):.2f}, and {most:g} is allowed"


def _mean(units: Units, bounds: tuple[float, float], alpha: float, is_grouped: bool) -> Interval | None:
    """The mean with one-sided limits: Clopper-Pearson's for values of 0 and 1, Gaffke's for others.

    `is_grouped`: each person counts once, by the mean of what they gave, as choices of one person are alike.
    """
    if not units:
        return None
    values = _by_person(units) if is_grouped else [value for _, value in units]
    low, high = mean_limits(values, alpha, alpha, bounds)
    return _interval(float(np.mean(values)), low, high)


def _by_person(units: Units) -> list[float]:
    given = defaultdict[Hashable, list[float]](list)
    for person, value in units:
        given[person].append(value)
    return [float(np.mean(values)) for values in given.values()]


def _difference(one: Interval | None, other: Interval | None) -> Interval | None:
    """One mean minus another, with limits made of theirs (MOVER: Zou and Donner 2008)."""
    if one is None or other is None:
        return None
    value = one.value - other.value
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return _interval(value, max(-1.0, low), min(1.0, high))


def _interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=round(value, 6), low=round(low, 6), high=round(high, 6))
