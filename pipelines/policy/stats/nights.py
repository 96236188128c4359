"""How far each night is from the others, and how far that is from usual. Pure.

Nights, people and rows are nested: rows of one person are alike, and so are the people of one night, because
something happened that day. A test that takes rows as independent therefore finds a change on most nights.
Here the night is the unit: each night has one distance for a column, and nights are compared with nights.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

ROUNDING = 1e-7
MIN_EXPECTED = 5  # categories of which fewer are expected in a night are counted together


def shares_of(values: np.ndarray, nights: np.ndarray, lump: bool) -> np.ndarray:
    """Each night's share of each distinct value, sorted: (nights, values), every night weighs the same.

    `values` and `nights` are (rows,), nights counted from 0. `lump` counts rare values together.
    """
    _, codes = np.unique(values, return_inverse=True)
    counts = np.zeros((nights.max() + 1, codes.max() + 1))
    np.add.at(counts, (nights, codes), 1)
    rare = counts.mean(axis=0) < MIN_EXPECTED
    if lump and rare.sum() > 1:
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    return counts / counts.sum(axis=1, keepdims=True)


def means_of(vectors: np.ndarray, nights: np.ndarray) -> tuple[np.ndarray, float]:
    """Each night's mean vector (nights, dimensions), and the spread of rows around the mean of all."""
    means = np.array(
        [vectors[nights == night].mean(axis=0, dtype=np.float64) for night in range(nights.max() + 1)]
    )
    return means, float(np.sqrt(((vectors - means.mean(axis=0)) ** 2).sum(axis=1).mean()))


def spread_around(means: np.ndarray, squares: np.ndarray, rows: np.ndarray) -> float:
    """The same spread from each night's mean vector, mean squared length of its vectors, and rows."""
    centre, weights = means.mean(axis=0), rows / rows.sum()
    return float(np.sqrt(max(0.0, weights @ squares - 2 * (weights @ means) @ centre + centre @ centre)))


def total_variation(shares: np.ndarray, kinds: np.ndarray | None = None) -> np.ndarray:
    """(nights, categories) -> (nights,): the share of rows that would have to change category.

    `kinds`: see `from_others`.
    """
    return np.abs(from_others(shares, kinds)).sum(axis=-1) / 2


def kolmogorov_smirnov(shares: np.ndarray, kinds: np.ndarray | None = None) -> np.ndarray:
    """(nights, ordered values) -> (nights,): the largest gap, 0 to 1, between distribution functions."""
    return np.abs(from_others(np.cumsum(shares, axis=-1), kinds)).max(axis=-1)


def standardised_shift(means: np.ndarray, spread: float, kinds: np.ndarray | None = None) -> np.ndarray:
    """(nights, dimensions) -> (nights,): how far the mean is, in spreads of single rows around it."""
    moved = np.linalg.norm(from_others(means, kinds), axis=-1)
    return moved / spread if spread > 0 else np.zeros(len(means))


def from_others(values: np.ndarray, kinds: np.ndarray | None) -> np.ndarray:
    """Each night's values minus the mean of the other nights.

    `kinds` (nights,): the others are those of the same kind, such as a weekday, at least one. A mean of m
    nights varies itself, so that the difference varies 1 + 1/m times as much as a night does: it is divided
    by the root of that, because nights of different kinds have different m and are compared with each other.
    """
    if kinds is None:
        return values - mean_of_others(values)
    found = np.empty_like(values, dtype=np.float64)
    for kind in np.unique(kinds):
        alike = kinds == kind
        others = alike.sum() - 1
        found[alike] = (values[alike] - mean_of_others(values[alike])) / np.sqrt(1 + 1 / others)
    return found


def mean_of_others(values: np.ndarray) -> np.ndarray:
    """The mean over all other nights, for each night; nights are the first axis, and each weighs the same."""
    return (values.sum(axis=0) - values) / (len(values) - 1)


def beyond_usual(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(columns, nights) -> each distance minus the mean of the other nights', and how unusual it is.

    How unusual: the externally studentised residual of the distances' square roots, which are nearer to
    normal. For nights that are normal and alike it has Student's t distribution with `nights - 2` degrees of
    freedom (Cook and Weisberg, Residuals and Influence in Regression, 1982, section 2.2.1). It is infinite
    where the other nights are all equal and this one is farther.
    """
    roots, others = np.sqrt(distances), distances.shape[1] - 1
    residuals = roots - mean_of_others(roots.T).T
    squares = ((roots - roots.mean(axis=1, keepdims=True)) ** 2).sum(axis=1, keepdims=True)
    # Squares of the others around their own mean: this night adds residual^2 others / (others + 1).
    left = np.maximum(squares - residuals**2 * others / (others + 1), 0)
    error = np.sqrt(left / (others - 1) * (1 + 1 / others))
    with np.errstate(divide="ignore", invalid="ignore"):
        unusual = np.where(
            np.abs(residuals) <= ROUNDING, 0.0, residuals / np.where(error <= ROUNDING, 0, error)
        )
    return distances - mean_of_others(distances.T).T, unusual


def rank_p_values(tonight: np.ndarray, farthest: np.ndarray) -> np.ndarray:
    """For each of tonight's statistics, the share of all nights, tonight included, that are at least as far.

    `farthest`: each past night's largest statistic over all columns. Where all nights are exchangeable, the
    smallest of these is a valid p-value of the night, whatever the distribution. Each is corrected for the
    number of columns (Westfall and Young, Resampling-Based Multiple Testing, 1993, section 2.3).
    """
    return (1 + (farthest >= tonight[:, None]).sum(axis=1)) / (1 + len(farthest))


def student_p_values(tonight: np.ndarray, others: int) -> np.ndarray:
    """One-sided p-values of studentised residuals, times the number of columns (Bonferroni)."""
    return np.minimum(1, len(tonight) * student.sf(tonight, others - 1))
