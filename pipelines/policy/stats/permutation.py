"""Two-sample tests by random relabelling: valid p-values for categories, numbers and embeddings. Pure.

While nothing has changed, the rows of both samples are exchangeable. Each test therefore compares its
statistic with the same statistic after random relabelling. This is exact for ties, small counts and samples
of any two sizes, which scipy's asymptotic chi-square and Kolmogorov-Smirnov tests are not.

Rows of one person or one day are alike in real traffic; the tests treat rows as independent.
"""

from __future__ import annotations

import math

import numpy as np

MIN_EXPECTED = 5  # categories of which fewer are expected in the second sample are counted together


def permutations_needed(configured: int, columns: int, alpha: float) -> int:
    """Relabellings that let the smallest p-value pass Holm's first step, with room to spare."""
    return max(configured, math.ceil(2 * columns / alpha))


def homogeneity_test(
    reference: np.ndarray, tonight: np.ndarray, permutations: int, rng: np.random.Generator
) -> float:
    """p-value of Pearson's chi-square for two samples of categories (1-d arrays).

    Given the totals of each category, relabelling draws the second sample's counts from a multivariate
    hypergeometric distribution (Agresti, Categorical Data Analysis, 3rd ed., 2013, sections 3.5 and 16.5).
    """
    totals, observed = _category_counts(reference, tonight)
    expected = totals * len(tonight) / totals.sum()
    drawn = rng.multivariate_hypergeometric(totals, len(tonight), size=permutations)
    statistics = ((np.vstack([observed, drawn]) - expected) ** 2 / expected).sum(axis=1)
    return _p_value(statistics)


def total_variation(reference: np.ndarray, tonight: np.ndarray) -> float:
    """The share of rows that would have to change category to make both samples equal."""
    totals, observed = _category_counts(reference, tonight)
    return float(np.abs(observed / len(tonight) - (totals - observed) / len(reference)).sum() / 2)


def ks_test(
    reference: np.ndarray, tonight: np.ndarray, permutations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """p-value and effect (0 to 1) of the Kolmogorov-Smirnov distance of two samples, with or without ties."""
    pooled = np.concatenate([reference, tonight])
    order = np.argsort(pooled, kind="stable")
    ends = np.append(np.diff(pooled[order]) != 0, True)  # the distribution functions step after equal values
    weights = _relabelled(order >= len(reference), permutations, rng)
    statistics = np.abs(np.cumsum(weights, axis=1, dtype=np.float64)[:, ends]).max(axis=1)
    return _p_value(statistics), float(statistics[0])


def energy_test(
    reference: np.ndarray, tonight: np.ndarray, permutations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """p-value and energy coefficient (0 to 1) for two samples of unit vectors, (rows, dimension).

    Energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'| with a permutation test: Szekely and Rizzo, Energy
    statistics, J. Stat. Plan. Inference 143 (2013) 1249-1272. Memory: 4 n^2 bytes for n rows in all.
    """
    pooled = np.concatenate([reference, tonight]).astype(np.float32)
    distances = np.sqrt(np.clip(2 - 2 * (pooled @ pooled.T), 0, None))
    across = float(distances[: len(reference), len(reference) :].mean())
    distances -= distances.mean()  # no effect on a contrast whose weights sum to 0; better rounding
    weights = _relabelled(np.arange(len(pooled)) >= len(reference), permutations, rng).T
    statistics = -(weights * (distances @ weights)).sum(axis=0, dtype=np.float64)
    effect = max(0.0, float(statistics[0])) / (2 * across) if across > 0 else 0.0
    return _p_value(statistics), effect


def _category_counts(reference: np.ndarray, tonight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of both samples together and of the second alone; rare categories are one."""
    _, codes = np.unique(np.concatenate([reference, tonight]), return_inverse=True)
    totals = np.bincount(codes)
    rare = totals * len(tonight) / len(codes) < MIN_EXPECTED
    observed = np.bincount(codes[len(reference) :], minlength=len(totals))
    if rare.sum() < 2:
        return totals, observed
    return np.append(totals[~rare], totals[rare].sum()), np.append(observed[~rare], observed[rare].sum())


def _relabelled(is_tonight: np.ndarray, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Weights (permutations + 1, rows) of the contrast tonight minus reference; the observed one first."""
    labels = np.tile(is_tonight, (permutations + 1, 1))
    labels[1:] = rng.permuted(labels[1:], axis=1)
    tonight = int(is_tonight.sum())
    return np.where(labels, 1 / tonight, -1 / (len(is_tonight) - tonight)).astype(np.float32)


def _p_value(statistics: np.ndarray) -> float:
    """Share of relabellings at least as extreme as the first entry, the observed one, itself included.

    Counting the observed one makes the p-value valid (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol.
    9 (2010) 39). The tolerance counts equal statistics as equal despite rounding.
    """
    observed = statistics[0]
    return float((statistics >= observed - 1e-9 - 1e-6 * abs(observed)).mean())
