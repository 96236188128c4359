"""How much a mean difference rests on a few people, beside clean worlds of the same sizes. Pure.

The difference is a sum of means, one a side: one side for pairs of answers (1, 0 or -1), two for a
candidate's and production's answers to different people. Each person counts how often each outcome occurred,
so people are left out by subtraction. Those whose removal changes a ratio of sums most are found by
Dinkelbach's method (On nonlinear fractional programming, Management Science 13 (1967) 492-498), on all sides
at once. For the question itself see Broderick, Giordano and Meager, An automatic finite-sample robustness
metric: when can dropping a little data make a big difference? (2020).

Clean worlds: every person draws their own chances around those of all (Dirichlet-multinomial), as far apart
as the people who are left differ from each other: the analysis-of-variance estimate of the intraclass
correlation (Ridout, Demetrio and Firth, Estimating intraclass correlation for binary data, Biometrics 55
(1999) 137-148).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
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
    """One mean: how often each person had each outcome, (people, outcomes), and each outcome's worth."""

    counts: Ints
    worth: Floats


@dataclass(frozen=True)
class Few:
    """The few people, or the group, on whom the difference rests most.

    `moved`: the difference with them minus that without them.
    """

    places: tuple[int, ...]
    moved: float


def numbered(names: Sequence[Hashable]) -> tuple[int, Ints]:
    """How many distinct names there are, and the number of each, in the order in which they come."""
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return len(place), np.array([place[name] for name in names], dtype=np.int64)


def few_people(sides: Sequence[Side], most: int) -> Few:
    """The `most` people who lift the difference most. There must be more people than these."""
    (places,), (moved,) = _lifted([side.counts[None] for side in sides], _worth(sides), most)
    return Few(tuple(places.tolist()), float(moved))


def one_group(sides: Sequence[Side], groups: Ints) -> Few:
    """The group (numbers from 0, one a person) that lifts the difference most, such as a tenant."""
    number = int(groups.max()) + 1
    counts = [_by_group(side.counts, groups[None], number) for side in sides]
    (places,), (moved,) = _lifted(counts, _worth(sides), 1)
    return Few(tuple(places.tolist()), float(moved))


def chance_of_people(sides: Sequence[Side], few: Few, rng: np.random.Generator) -> float:
    """The share of clean worlds where as few people move the difference as far."""
    if not few.moved > 0:
        return 1.0
    most, worth = len(few.places), _worth(sides)
    alike = [_how_alike(sides, number, few, rng) for number in range(len(sides))]
    worlds = _clean_worlds(sides, alike, WORLDS, rng)
    return _p_value(np.concatenate([_lifted(counts, worth, most)[1] for counts in worlds]), few.moved)


def chance_of_group(sides: Sequence[Side], groups: Ints, few: Few, rng: np.random.Generator) -> float:
    """The share of clean worlds where one group moves the difference as far.

    There it is random which group a person belongs to. Each group has as many people as before.
    """
    if not few.moved > 0:
        return 1.0
    number = int(groups.max()) + 1
    at_once, clean = max(1, CELLS // len(groups)), []
    for start in range(0, WORLDS, at_once):
        mixed = rng.permuted(np.tile(groups, (min(at_once, WORLDS - start), 1)), axis=1)
        counts = [_by_group(side.counts, mixed, number) for side in sides]
        clean.append(_lifted(counts, _worth(sides), 1)[1])
    return _p_value(np.concatenate(clean), few.moved)


def _worth(sides: Sequence[Side]) -> list[Floats]:
    return [side.worth for side in sides]


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


def _how_alike(sides: Sequence[Side], number: int, few: Few, rng: np.random.Generator) -> float:
    """The largest intraclass correlation of a side that agrees with how the people who are left differ.

    Those who stand out are left out, in the clean worlds too, or they would explain themselves.
    """
    worth, most = _worth(sides), len(few.places)
    places = np.array([few.places], dtype=np.int64)
    seen = _of_others(sides[number].counts[None], worth[number], places)[0]
    for alike in GRID:
        given = [alike if place == number else 0.0 for place in range(len(sides))]
        found = [
            _of_others(counts[number], worth[number], _lifted(counts, worth, most)[0])
            for counts in _clean_worlds(sides, given, TRIALS, rng)
        ]
        if (np.concatenate(found) <= seen + 1e-12).mean() >= AGREES:
            return alike
    return 0.0


def _clean_worlds(
    sides: Sequence[Side], alike: Sequence[float], worlds: int, rng: np.random.Generator
) -> Iterator[list[Ints]]:
    """Each side's counts (worlds, people, outcomes), some worlds at a time."""
    at_once = max(1, CELLS // max(1, len(sides[0].counts)))
    for start in range(0, worlds, at_once):
        several = min(at_once, worlds - start)
        yield [drawn(side.counts, one, several, rng) for side, one in zip(sides, alike, strict=True)]


def _of_others(counts: Ints, worth: Floats, places: Ints) -> Floats:
    """The intraclass correlation of one side (worlds,) without these people (worlds, most)."""
    left = counts.copy()
    np.put_along_axis(left, places[..., None], 0, axis=1)
    return intraclass_correlation(left, worth)


def drawn(counts: Ints, alike: float, worlds: int, rng: np.random.Generator) -> Ints:
    """(worlds, people, outcomes): each person has as many rows as in `counts` (people, outcomes)."""
    found = np.zeros((worlds, *counts.shape), dtype=np.int64)
    sizes, shares = counts.sum(axis=1), counts.sum(axis=0) / max(1, counts.sum())
    seen = sizes > 0  # most people have no row on one of two sides
    shape = (worlds, int(seen.sum()), len(shares))
    if alike <= 0:
        found[:, seen] = rng.multinomial(sizes[seen], shares, size=shape[:2])
        return found
    weights = rng.standard_gamma(shares * (1 - alike) / alike, size=shape)
    total = weights.sum(axis=-1, keepdims=True)
    chances = np.where(total > 0, weights / np.where(total > 0, total, 1), shares)
    found[:, seen] = rng.multinomial(np.broadcast_to(sizes[seen], shape[:2]), chances)
    return found


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


def _lifted(counts: Sequence[Ints], worth: Sequence[Floats], most: int) -> tuple[Ints, Floats]:
    """The people who lift the difference most, (worlds, most), and by how much, (worlds,).

    Nobody who gives all rows of a side is left out: nothing would be left to compare.
    """
    sums = np.stack([count @ value for count, value in zip(counts, worth, strict=True)], axis=-1)
    sizes = np.stack([count.sum(axis=-1) for count in counts], axis=-1)
    all_sums, all_sizes = sums.sum(axis=1), sizes.sum(axis=1)
    needed = ((sizes == all_sizes[:, None]) & (sizes > 0)).any(axis=-1)
    left_sums, left_sizes = all_sums, all_sizes
    for _ in range(ROUNDS):
        scale = np.maximum(left_sizes, 1)
        lift = ((sums - (left_sums / scale)[:, None] * sizes) / scale[:, None]).sum(axis=-1)
        lift = np.where(needed, -np.inf, lift)
        places = np.argpartition(lift, -most, axis=1)[:, -most:]
        taken = np.take_along_axis(lift, places, axis=1)[..., None] > 0
        left_sums = all_sums - np.where(taken, np.take_along_axis(sums, places[..., None], 1), 0).sum(1)
        left_sizes = all_sizes - np.where(taken, np.take_along_axis(sizes, places[..., None], 1), 0).sum(1)
    before = (all_sums / np.maximum(all_sizes, 1)).sum(axis=-1)
    return places, before - (left_sums / np.maximum(left_sizes, 1)).sum(axis=-1)
