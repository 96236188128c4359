"""E-processes: evidence that may be looked at after every answer. Pure. Arrays are (..., n), in order.

An e-process is a running product whose expectation is at most 1 while its null hypothesis holds. It ever
reaches 1/alpha with a probability of at most alpha (Ville's inequality), however often one looks.

Sources: Turner, Ly and Gruenwald, "Generic E-variables for exact sequential k-sample tests that allow for
optional stopping" (2024); Turner and Gruenwald, "Exact anytime-valid confidence intervals for contingency
tables and beyond" (2023), for nulls with a margin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR = 0.5  # pseudo-answers of each kind before the first answer
HALVINGS = 20  # the product's expectation is off by the square of the last interval
EDGE = 0.005  # how near 0 or 1 an alternative may lie
WIN_SHARES = np.arange(0.1, 1, 0.1)  # of the null's share: a candidate that loses more than that allows


def in_blocks(answers: Iterable[tuple[bool, bool]], size: int) -> tuple[Floats, Floats]:
    """Blocks of one candidate's answer and `size` of production's, in order of arrival.

    `answers` are (is the candidate's, outcome). Returns the candidate's outcomes and production's sums,
    each of shape (blocks,). Which answers share a block depends on their order, never on an outcome.
    """
    waiting: deque[bool] = deque()
    recent: deque[bool] = deque(maxlen=4 * size)
    candidate, production = [], []
    for is_candidate, outcome in answers:
        (waiting if is_candidate else recent).append(outcome)
        if waiting and len(recent) >= size:
            candidate.append(float(waiting.popleft()))
            production.append(float(sum(recent.popleft() for _ in range(size))))
    return np.array(candidate), np.array(production)


def log_evidence(
    candidate: Floats, production: Floats, size: int, margin: float, expected: float | None = None
) -> Floats:
    """Log e-process against "the candidate's rate is at most production's plus `margin`", after each block.

    Each block is bet on with rates learned from the blocks before it. With `expected`, half of the stake is
    bet on a difference of exactly that much. The null holds block by block, so rates may change over time.
    """
    seen = np.arange(candidate.shape[-1])
    won, of_production = _before(candidate), _before(production)
    rate = (won + PRIOR) / (seen + 2 * PRIOR)
    other = (of_production + PRIOR) / (size * seen + 2 * PRIOR)
    learned = _log_product(candidate, production, size, margin, rate, other)
    if expected is None:
        return learned
    pooled = (won + of_production + PRIOR) / ((size + 1) * seen + 2 * PRIOR)
    lowest, highest = max(0.0, -expected) + EDGE, min(1.0, 1 - expected) - EDGE
    other = np.clip(pooled - expected / (size + 1), lowest, highest)
    hoped = _log_product(candidate, production, size, margin, other + expected, other)
    return np.logaddexp(learned, hoped) - np.log(2)


def log_evidence_of_losing(won: Floats, lost: Floats, share: float = 0.5) -> Floats:
    """Log e-process against "the candidate wins at least `share` of the pairs that one of the two wins".

    `won` and `lost` are 0 or 1 for each pair. The process is a mixture of likelihood ratios over `WIN_SHARES`
    of `share`, a beta-binomial mixture on a grid. For a larger share each ratio shrinks even faster.
    """
    wins, losses = np.cumsum(won, -1)[..., None], np.cumsum(lost, -1)[..., None]
    shares = share * WIN_SHARES
    ratios = wins * np.log(WIN_SHARES) + losses * np.log((1 - shares) / (1 - share))
    return np.logaddexp.reduce(ratios, axis=-1) - np.log(len(WIN_SHARES))


def _log_product(
    candidate: Floats, production: Floats, size: int, margin: float, rate: Floats, other: Floats
) -> Floats:
    """The likelihood of (rate, other) over that of the nearest point of the null. No bet inside the null."""
    gains = np.zeros(candidate.shape)
    bet = rate > other + margin
    won, sums, rate, other = candidate[bet], production[bet], rate[bet], other[bet]
    null_rate, null_other = _nearest_of_null(rate, other, size, margin)
    gains[bet] = _log_ratio(won, 1, rate, null_rate) + _log_ratio(sums, size, other, null_other)
    return np.cumsum(gains, axis=-1)


def _nearest_of_null(rate: Floats, other: Floats, size: int, margin: float) -> tuple[Floats, Floats]:
    """The point with rate = other + margin that is nearest in Kullback-Leibler divergence, by bisection."""
    low = np.full(rate.shape, max(0.0, -margin))
    high = np.full(rate.shape, min(1.0, 1 - margin))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        shifted = middle + margin
        slope = (shifted - rate) / (shifted * (1 - shifted)) + size * (middle - other) / (
            middle * (1 - middle)
        )
        low, high = np.where(slope > 0, low, middle), np.where(slope > 0, middle, high)
    middle = (low + high) / 2
    return middle + margin, middle


def _log_ratio(hits: Floats, trials: int, rate: Floats, null: Floats) -> Floats:
    return hits * np.log(rate / null) + (trials - hits) * np.log((1 - rate) / (1 - null))


def _before(values: Floats) -> Floats:
    return np.cumsum(values, axis=-1) - values
