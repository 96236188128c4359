"""Worlds for candidates that wait: histories of nights, each with fresh rows, and what passes.

All histories are simulated at once. The rule is the gate's own (policy/night/waiting.py and level.py), beside
the rule without waiting: each night a new candidate, tested on that night's rows only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from benchmarks.gate_worlds import p_value
from pipelines.core.config import Gate
from pipelines.policy.night.level import KEPT_SHARES, SHARES_A_YEAR
from pipelines.policy.night.waiting import first_level, is_futile, passes, values_of

MARGIN = Gate().min_improvement
DIFFER = 0.2  # share of rows that the two models answer otherwise

# (night, night of the candidate's training, night after the last promotion, random) -> true difference
Gain = Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class World:
    """`gain`: how much better a candidate is on a night, in each history.

    `copies`: how often each row is there. `odds`: how much likelier people label rows that it wins;
    the first night's test is then on as many items of a suite, whose answers are all known. `bad`: no
    candidate is better than the margin in truth, whatever it is for the people who are asked. `alike`: every
    candidate answers the suite as the one before it, where it is as good.
    """

    words: str
    gain: Gain
    copies: int = 1
    odds: float = 1.0
    bad: bool = False
    alike: bool = False


@dataclass
class Years:
    """What happened in each history: passes that were false or right, and the first night of a right one."""

    false: np.ndarray
    right: np.ndarray
    first: np.ndarray  # infinite where none


def steady(gain: float) -> Gain:
    return lambda night, begun, since, luck: np.full(len(begun), gain)


def once_a_week(gain: float) -> Gain:
    """One candidate of seven is better, the others are not."""
    return lambda night, begun, since, luck: np.where(luck < 1 / 7, gain, 0.0)


def slow(a_night: float, most: float) -> Gain:
    """The longer production was not replaced, the better are new candidates."""
    return lambda night, begun, since, luck: np.minimum(a_night * (begun - since + 1), most)


def decaying(first: float, a_night: float) -> Gain:
    """A candidate is best on the night of its training."""
    return lambda night, begun, since, luck: first - a_night * (night - begun)


def drifting(mean: float, swing: float) -> Gain:
    """Weeks on which every candidate is better, and weeks on which it is worse."""
    return lambda night, begun, since, luck: mean + np.where((night + 14 * luck) % 14 < 7, swing, -swing)


def same_people(mean: float, people: int, differ: float) -> Gain:
    """The same people return. Their gains by a candidate differ by this standard deviation."""
    spread = differ / np.sqrt(people)
    return lambda night, begun, since, luck: mean + spread * norm.ppf(np.clip(luck, 1e-6, 1 - 1e-6))


def better_from(first: int, gain: float) -> Gain:
    """What is trained before this night is no better; from then on every candidate is."""
    return lambda night, begun, since, luck: np.where(begun >= first, gain, 0.0)


def simulate(
    world: World,
    rows: int,
    gate: Gate,
    histories: int,
    nights: int,
    seed: int,
    pool: int = 0,
    suite: int = 0,
) -> Years:
    """`rows`: fresh ones a night. A pass is false where the mean difference so far is at most the margin.

    `pool`: items of a pool a night, whose answers are all known. `suite`: items of the first night's test; 0:
    as many as fresh rows.
    """
    rng, waits = np.random.default_rng(seed), gate.max_nights_waiting
    values = values_of(gate.rating_odds, with_pool=pool > 0)
    free = np.ones(histories, bool)  # nobody waits
    begun, since = np.zeros(histories, int), np.zeros(histories, int)
    kept, level, luck = np.full(histories, float(KEPT_SHARES)), np.zeros(histories), np.zeros(histories)
    counts, means = np.zeros((histories, len(values))), np.zeros(histories)
    found = Years(np.zeros(histories, int), np.zeros(histories, int), np.full(histories, np.inf))
    for night in range(nights):
        begun, luck = np.where(free, night, begun), np.where(free, rng.random(histories), luck)
        level = np.where(free, gate.false_passes_a_year * kept / 2 / SHARES_A_YEAR, level)
        kept = np.minimum(np.where(free, kept / 2, kept) + 1, KEPT_SHARES)
        counts[free], means = 0, np.where(free, 0.0, means)
        gain, age = world.gain(night, begun, since, luck), night - begun + 1
        means += (gain - means) / age
        tonight = world.copies * _rows(gain, rows // world.copies, world.odds, rng)
        counts += np.hstack([tonight, _rows(gain, pool, 1.0, rng)]) if pool else tonight
        other = suite or world.odds != 1
        luck_of_suite = np.random.default_rng([seed, 1]) if world.alike else rng
        asked = _rows(gain, suite or rows, 1.0, luck_of_suite) if other else tonight
        passed = free & _first(asked, suite or rows, first_level(1.0, waits > 0) * level)
        if waits:
            passed |= passes(counts, values, MARGIN, level)
        dropped = is_futile(counts, values, MARGIN, level, age, waits) if waits else np.ones(histories, bool)
        right = passed & (means > MARGIN + 1e-9) & (not world.bad)
        found.false += passed & ~right
        found.right += right
        found.first = np.where(right & np.isinf(found.first), night, found.first)
        since = np.where(passed, night + 1, since)
        free = passed | dropped
    return found


def _rows(gain: np.ndarray, rows: int, odds: float, rng: np.random.Generator) -> np.ndarray:
    """(histories, 3): rows that the candidate wins, loses, and neither."""
    differ = np.maximum(DIFFER, np.abs(gain))
    shares = np.stack([odds * (differ + gain) / 2, (differ - gain) / 2, 1 - differ], -1)
    return rng.multinomial(rows, shares / shares.sum(-1, keepdims=True))


def _first(tonight: np.ndarray, rows: int, level: np.ndarray) -> np.ndarray:
    """The exact test of one night's rows."""
    p_values = [p_value(won, lost, rows, MARGIN) for won, lost, _ in tonight.tolist()]
    return np.array(p_values) <= level
