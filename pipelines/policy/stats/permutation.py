"""Two-sample tests by random relabelling: valid p-values for categories, numbers and embeddings. Pure.

While nothing has changed, the people of both samples are exchangeable. Each test therefore compares its
statistic with the same statistic after random relabelling. A person changes sides with all their rows,
because rows of one person are alike (Lehmann and Romano, Testing Statistical Hypotheses, 4th ed., 2022,
section 17.2.1, with people as the units). This is exact for ties, small counts and samples of any two sizes,
which scipy's asymptotic chi-square and Kolmogorov-Smirnov tests are not.

Relabelling ends early once it is clear that chance makes such statistics often: after 100 that are at least
as extreme, at the l-th relabelling, the p-value is 100 / l, which is valid as well (Besag and Clifford,
Sequential Monte Carlo p-values, Biometrika 78 (1991) 301-304). Small p-values take all relabellings.

What happens on one day to many people at once is not covered: `nights` compares whole nights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Measure = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # weights -> statistics and effects
ENOUGH = 100  # relabellings at least as extreme as what was seen
BATCHES = 256, 2_048  # the first relabellings, and most of the later ones together
MIN_EXPECTED = 5  # categories of which fewer are expected in the second sample are counted together


@dataclass(frozen=True)
class Moved:
    """`effect` runs from 0 (equal) to 1 (disjoint); `usual` is its mean over the relabellings."""

    p_value: float
    effect: float
    usual: float


def permutations_needed(configured: int, columns: int, alpha: float) -> int:
    """Relabellings that let the smallest p-value pass Holm's first step, with room to spare."""
    return max(configured, math.ceil(2 * columns / alpha))


def homogeneity_test(
    reference: np.ndarray,
    tonight: np.ndarray,
    permutations: int,
    rng: np.random.Generator,
    people: np.ndarray | None = None,
) -> Moved:
    """Pearson's chi-square of two samples of categories, (rows,) each; the effect is their total variation.

    `people`: a number for the person of each row, the reference's rows first; None: every row is a person.
    """
    _, codes = np.unique(np.concatenate([reference, tonight]), return_inverse=True)
    totals = np.bincount(codes)
    rare = totals * len(tonight) / len(codes) < MIN_EXPECTED
    if rare.sum() > 1:
        codes = np.where(rare[codes], 0, np.cumsum(~rare)[codes])
    is_category = np.eye(codes.max() + 1, dtype=np.float32)[codes]
    shares = np.maximum(is_category.mean(axis=0), 1e-12)

    def measure(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gaps = (weights @ is_category).astype(np.float64)
        return (gaps**2 / shares).sum(axis=1), np.abs(gaps).sum(axis=1) / 2

    return _moved(measure, np.arange(len(codes)) >= len(reference), people, permutations, rng)


def ks_test(
    reference: np.ndarray,
    tonight: np.ndarray,
    permutations: int,
    rng: np.random.Generator,
    people: np.ndarray | None = None,
) -> Moved:
    """The Kolmogorov-Smirnov distance of two samples, with or without ties; see homogeneity_test."""
    pooled = np.concatenate([reference, tonight])
    order = np.argsort(pooled, kind="stable")
    ends = np.append(np.diff(pooled[order]) != 0, True)  # the distribution functions step after equal values

    def measure(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gaps = np.abs(np.cumsum(weights[:, order], axis=1, dtype=np.float64)[:, ends]).max(axis=1)
        return gaps, gaps

    return _moved(measure, np.arange(len(pooled)) >= len(reference), people, permutations, rng)


def energy_test(
    reference: np.ndarray,
    tonight: np.ndarray,
    permutations: int,
    rng: np.random.Generator,
    people: np.ndarray | None = None,
) -> Moved:
    """Energy distance of two samples of unit vectors, (rows, dimension); see homogeneity_test.

    Energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'| with a permutation test: Szekely and Rizzo, Energy
    statistics, J. Stat. Plan. Inference 143 (2013) 1249-1272. The effect is the root of its share of
    2 E|X-Y|. Memory: 4 n^2 bytes for n rows in all.
    """
    pooled = np.concatenate([reference, tonight]).astype(np.float32)
    distances = np.sqrt(np.clip(2 - 2 * (pooled @ pooled.T), 0, None))
    across = float(distances[: len(reference), len(reference) :].mean())
    distances -= distances.mean()  # no effect on a contrast whose weights sum to 0; better rounding

    def measure(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        statistics = -((weights @ distances) * weights).sum(axis=1, dtype=np.float64)
        effects = np.sqrt(np.maximum(statistics, 0) / (2 * across)) if across else statistics * 0
        return statistics, effects

    return _moved(measure, np.arange(len(pooled)) >= len(reference), people, permutations, rng)


def _moved(
    measure: Measure,
    is_tonight: np.ndarray,
    people: np.ndarray | None,
    permutations: int,
    rng: np.random.Generator,
) -> Moved:
    """Relabel up to `permutations` times, and stop once `ENOUGH` are as extreme as what was seen.

    Counting the observed one makes the p-value valid (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol.
    9 (2010) 39). The tolerance counts equal statistics as equal despite rounding.
    """
    batches = _relabelled(is_tonight, people, permutations, rng)
    (observed,), (effect,) = measure(next(batches))
    least = observed - 1e-9 - 1e-6 * abs(observed)
    drawn, extreme, effects = 0, 0, 0.0
    for weights in batches:
        statistics, found = measure(weights)
        as_far = np.flatnonzero(statistics >= least)
        effects += float(found.sum())
        if extreme + len(as_far) >= ENOUGH:
            last = drawn + int(as_far[ENOUGH - extreme - 1]) + 1
            return Moved(ENOUGH / last, float(effect), effects / (drawn + len(found)))
        drawn, extreme = drawn + len(found), extreme + len(as_far)
    return Moved((1 + extreme) / (1 + drawn), float(effect), effects / drawn)


def _relabelled(
    is_tonight: np.ndarray, people: np.ndarray | None, permutations: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Weights (relabellings, rows) of the contrast tonight minus reference: the observed one, then batches.

    Somebody who is on both sides is two people, which makes a false alarm less likely.
    """
    blocks = np.arange(len(is_tonight)) if people is None else 2 * people + is_tonight
    _, first, block = np.unique(blocks, return_index=True, return_inverse=True)
    yield _contrast(is_tonight[None])
    left, size = permutations, BATCHES[0]
    while left:
        size = min(size, left)
        sides = np.tile(is_tonight[first], (size, 1))
        yield _contrast(rng.permuted(sides, axis=1)[:, block])
        left, size = left - size, BATCHES[1]


def _contrast(labels: np.ndarray) -> np.ndarray:
    tonight = labels.sum(axis=1, keepdims=True)
    return np.where(labels, 1 / tonight, -1 / (labels.shape[1] - tonight)).astype(np.float32)
