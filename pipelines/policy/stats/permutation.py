"""Two-sample tests by random relabelling: valid p-values for categories, numbers and embeddings. Pure.

While nothing has changed, the people of both samples are exchangeable. Each test therefore compares its
statistic with the same statistic after random relabelling. A person changes sides with all their rows,
because rows of one person are alike (Lehmann and Romano, Testing Statistical Hypotheses, 4th ed., 2022,
section 17.2.1, with people as the units). This is exact for ties, small counts and samples of any two sizes,
which scipy's asymptotic chi-square and Kolmogorov-Smirnov tests are not.

What happens on one day to many people at once is not covered: `nights` compares whole nights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

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
    weights = _relabelled(np.arange(len(codes)) >= len(reference), people, permutations, rng)
    gaps = (weights @ is_category).astype(np.float64)
    shares = np.maximum(is_category.mean(axis=0), 1e-12)
    return _moved((gaps**2 / shares).sum(axis=1), np.abs(gaps).sum(axis=1) / 2)


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
    weights = _relabelled(np.arange(len(pooled)) >= len(reference), people, permutations, rng)[:, order]
    statistics = np.abs(np.cumsum(weights, axis=1, dtype=np.float64)[:, ends]).max(axis=1)
    return _moved(statistics, statistics)


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
    weights = _relabelled(np.arange(len(pooled)) >= len(reference), people, permutations, rng).T
    statistics = -(weights * (distances @ weights)).sum(axis=0, dtype=np.float64)
    return _moved(statistics, np.sqrt(np.maximum(statistics, 0) / (2 * across)) if across else statistics * 0)


def _relabelled(
    is_tonight: np.ndarray, people: np.ndarray | None, permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Weights (permutations + 1, rows) of the contrast tonight minus reference; the observed one first.

    Somebody who is on both sides is two people, which makes a false alarm less likely.
    """
    blocks = np.arange(len(is_tonight)) if people is None else 2 * people + is_tonight
    _, first, block = np.unique(blocks, return_index=True, return_inverse=True)
    sides = np.tile(is_tonight[first], (permutations + 1, 1))
    sides[1:] = rng.permuted(sides[1:], axis=1)
    labels = sides[:, block]
    tonight = labels.sum(axis=1, keepdims=True)
    return np.where(labels, 1 / tonight, -1 / (labels.shape[1] - tonight)).astype(np.float32)


def _moved(statistics: np.ndarray, effects: np.ndarray) -> Moved:
    return Moved(_p_value(statistics), float(effects[0]), float(effects[1:].mean()))


def _p_value(statistics: np.ndarray) -> float:
    """Share of relabellings at least as extreme as the first entry, the observed one, itself included.

    Counting the observed one makes the p-value valid (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol.
    9 (2010) 39). The tolerance counts equal statistics as equal despite rounding.
    """
    observed = statistics[0]
    return float((statistics >= observed - 1e-9 - 1e-6 * abs(observed)).mean())
