"""How much a mean difference rests on a few people, beside clean worlds of the same sizes. Pure.

The difference is the mean of pairs of answers (1, 0 or -1). Each person counts how often each outcome
occurred, so people are left out by subtraction. Those whose removal changes a ratio of sums most are found by
Dinkelbach's method (On nonlinear fractional programming, Management Science 13 (1967) 492-498). For the
question itself see Broderick, Giordano and Meager, An automatic finite-sample robustness metric: when can
dropping a little data make a big difference? (2020).

Clean worlds: every person draws their own chances around those of all (Dirichlet-multinomial), as far apart
as the people who are left differ from each other: the analysis-of-variance estimate of the intraclass
correlation (Ridout, Demetrio and Firth, Estimating intraclass correlation for binary data, Biometrics 55
(1999) 137-148).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ROUNDS = 4  # Dinkelbach's method ends after two or three
WORLDS = 499
CELLS = 2_000_000  # people times worlds that are drawn at once
GRID = (0.8, 0.55, 0.35, 0.2, 0.1, 0.05, 0.02)  # intraclass correlations that are tried; else 0
TRIALS = 99  # worlds for each of these
AGREES = 0.25  # of the worlds have people who differ no more than those of tonight


@dataclass(frozen=True)
class Side:
    """The mean: how often each person had each outcome, (people, outcomes), and each outcome's worth."""

    counts: Ints
    worth: Floats


@dataclass(frozen=True)
class Influence:
    """The few people on whom the difference rests most.

    `moved`: the difference with them minus that without them. `p_value`: the share of clean worlds where the
    few on whom it rests most move it as far.
    """

    places: tuple[int, ...]
    moved: float
    p_value: float


def influence_of(side: Side, most: int, rng: np.random.Generator) -> Influence:
    """The `most` people who lift the difference most. There must be more people than these."""
    places, moved = _lifted(side.counts[None], side.worth, most)
    if not moved[0] > 0:
        return Influence(tuple(places[0].tolist()), float(moved[0]), 1.0)
    alike = _how_alike(side, places, most, rng)
    worlds = _clean_worlds(side, alike, WORLDS, rng)
    clean = np.concatenate([_lifted(counts, side.worth, most)[1] for counts in worlds])
    return Influence(tuple(places[0].tolist()), float(moved[0]), _p_value(clean, moved[0]))


def group_influence(side: Side, groups: Ints, rng: np.random.Generator) -> Influence:
    """The group (numbers from 0, one a person) that lifts the difference most, such as a tenant.

    In the clean worlds it is random which group a person belongs to. Each group has as many people as before.
    """
    number = int(groups.max()) + 1
    (place,), moved = _lifted(_by_group(side.counts, groups[None], number), side.worth, 1)
    if not moved[0] > 0:
        return Influence(tuple(place.tolist()), float(moved[0]), 1.0)
    at_once, clean = max(1, CELLS // len(groups)), []
    for start in range(0, WORLDS, at_once):
        mixed = rng.permuted(np.tile(groups, (min(at_once, WORLDS - start), 1)), axis=1)
        clean.append(_lifted(_by_group(side.counts, mixed, number), side.worth, 1)[1])
    p_value = _p_value(np.concatenate(clean), moved[0])
    return Influence(tuple(place.tolist()), float(moved[0]), p_value)


def _by_group(counts: Ints, groups: Ints, number: int) -> Ints:
    """(people, outcomes) and groups (worlds, people) -> (worlds, groups, outcomes)."""
    worlds = len(groups)
    flat = (groups + number * np.arange(worlds)[:, None]).ravel()
    outcomes = [
        np.bincount(flat, weights=np.tile(column, worlds), minlength=worlds * number) for column in counts.T
    ]
    return np.stack(outcomes, axis=-1).reshape(worlds, number, -1).round().astype(np.int64)


def _p_value(clean: Floats, moved: float) -> float:
    return (1 + int((clean >= moved - 1e-12).sum())) / (1 + len(clean))


def _how_alike(side: Side, places: Ints, most: int, rng: np.random.Generator) -> float:
    """The largest intraclass correlation that agrees with how the people who are left differ.

    Those who stand out are left out, in the clean worlds too, or they would explain themselves.
    """
    seen = _of_others(side.counts[None], side.worth, places)[0]
    for alike in GRID:
        found = [
            _of_others(counts, side.worth, _lifted(counts, side.worth, most)[0])
            for counts in _clean_worlds(side, alike, TRIALS, rng)
        ]
        if (np.concatenate(found) <= seen + 1e-12).mean() >= AGREES:
            return alike
    return 0.0


def _clean_worlds(side: Side, alike: float, worlds: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Counts (worlds, people, outcomes), some worlds at a time."""
    at_once = max(1, CELLS // max(1, len(side.counts)))
    for start in range(0, worlds, at_once):
        yield drawn(side.counts, alike, min(at_once, worlds - start), rng)


def _of_others(counts: Ints, worth: Floats, places: Ints) -> Floats:
    """The intraclass correlation (worlds,) without these people (worlds, most)."""
    left = counts.copy()
    np.put_along_axis(left, places[..., None], 0, axis=1)
    return intraclass_correlation(left, worth)


def drawn(counts: Ints, alike: float, worlds: int, rng: np.random.Generator) -> Ints:
    """(worlds, people, outcomes): each person has as many rows as in `counts` (people, outcomes)."""
    sizes, shares = counts.sum(axis=1), counts.sum(axis=0) / max(1, counts.sum())
    shape = (worlds, len(sizes), len(shares))
    if alike <= 0:
        return rng.multinomial(sizes, shares, size=shape[:2])
    weights = rng.standard_gamma(shares * (1 - alike) / alike, size=shape)
    total = weights.sum(axis=-1, keepdims=True)
    chances = np.where(total > 0, weights / np.where(total > 0, total, 1), shares)
    return rng.multinomial(np.broadcast_to(sizes, shape[:2]), chances)


def intraclass_correlation(counts: Ints, worth: Floats) -> Floats:
    """How alike rows of one person are, 0 to 1, from outcomes (..., people, outcomes); 0 if nothing tells."""
    sizes, sums = counts.sum(axis=-1), counts @ worth
    rows, people = sizes.sum(axis=-1), (sizes > 0).sum(axis=-1)
    squares, between = (counts @ worth**2).sum(axis=-1), (sums**2 / np.maximum(sizes, 1)).sum(axis=-1)
    within = (squares - between) / np.maximum(rows - people, 1)
    among = (between - sums.sum(axis=-1) ** 2 / np.maximum(rows, 1)) / np.maximum(people - 1, 1)
    usual_size = (rows - (sizes**2).sum(axis=-1) / np.maximum(rows, 1)) / np.maximum(people - 1, 1)
    spread = among + (usual_size - 1) * within
    tells = (people > 1) & (rows > people) & (spread > 1e-12)
    return np.where(tells, np.clip((among - within) / np.where(tells, spread, 1), 0, 1), 0.0)


def _lifted(counts: Ints, worth: Floats, most: int) -> tuple[Ints, Floats]:
    """The people who lift the difference most, (worlds, most), and by how much, (worlds,)."""
    sums, sizes = counts @ worth, counts.sum(axis=-1)
    all_sums, all_sizes = sums.sum(axis=1), sizes.sum(axis=1)
    left_sums, left_sizes = all_sums, all_sizes
    for _ in range(ROUNDS):
        scale = np.maximum(left_sizes, 1)
        lift = (sums - (left_sums / scale)[:, None] * sizes) / scale[:, None]
        places = np.argpartition(lift, -most, axis=1)[:, -most:]
        taken = np.take_along_axis(lift, places, axis=1) > 0
        left_sums = all_sums - np.where(taken, np.take_along_axis(sums, places, 1), 0).sum(1)
        left_sizes = all_sizes - np.where(taken, np.take_along_axis(sizes, places, 1), 0).sum(1)
    return places, all_sums / np.maximum(all_sizes, 1) - left_sums / np.maximum(left_sizes, 1)
