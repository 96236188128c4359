"""Worlds for the gate: nights of candidates that are asked about one suite, and what passes.

Chances of one night are added up over all outcomes. Years are simulated, all histories at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from scipy.stats import multinomial

from pipelines.core.config import Gate
from pipelines.policy.night.level import Asks, level_tonight
from pipelines.policy.stats.paired import mean_p_value

ITEMS = 240  # of the sample's suite
START = date(2026, 1, 1)
ACCURACY = 0.5  # of production in the worlds
YEARLY, FAMILYWISE = Gate(), Gate(error_rate="familywise")


@lru_cache(maxsize=200_000)
def p_value(gains: int, losses: int, items: int, margin: float) -> float:
    """As the gate computes it. What lies on the wrong side of the margin is spared the work."""
    if gains - losses <= margin * items:
        return 1.0
    return mean_p_value((1.0, -1.0, 0.0), margin, counts=(gains, losses, items - gains - losses))


def levels(gate: Gate, nights: int, every: int = 1) -> np.ndarray:
    """The level of each question to one suite, asked every so many days."""
    asked = [START + timedelta(every * night) for night in range(nights)]
    return np.array([level_tonight(gate, Asks(day, tuple(asked[:k]), k)) for k, day in enumerate(asked)])


def chances(items: int, discordant: float, gain: float, at: np.ndarray, margin: float) -> np.ndarray:
    """The chance to pass at each level, for a candidate better by `gain` that differs on so many items."""
    rates = [(discordant + gain) / 2, (discordant - gain) / 2, 1 - discordant]
    ranges = [_bulk(items, rate) for rate in rates[:2]]
    pairs = [(g, k) for g in ranges[0] for k in ranges[1] if g + k <= items]
    mass = multinomial.pmf([(g, k, items - g - k) for g, k in pairs], items, rates)
    p_values = np.array([p_value(g, k, items, margin) for g, k in pairs])
    return (mass[:, None] * (p_values[:, None] <= at)).sum(axis=0)


def _bulk(items: int, rate: float) -> range:
    """Counts that leave out a chance of less than 1e-7."""
    spread = 5.5 * (items * rate * (1 - rate)) ** 0.5 + 3
    return range(max(0, int(items * rate - spread)), min(items, int(items * rate + spread)) + 1)


@dataclass(frozen=True)
class World:
    """Candidates that are better by the margin and no more, so that each pass is a false one.

    `same`: share of items on which every candidate of a history answers alike. `copies`: how often each
    question stands in the suite, in other words. `follows`: a refused candidate's successor keeps a tenth of
    its answers, a passed one answers in production.
    """

    words: str
    same: float = 0.0
    copies: int = 1
    follows: bool = False


def false_passes(world: World, gate: Gate, histories: int, nights: int, seed: int) -> np.ndarray:
    """How many of a year's candidates pass, in each history: (histories,)."""
    rng = np.random.default_rng(seed)
    questions, margin = ITEMS // world.copies, gate.min_improvement
    hard = np.repeat(rng.beta(2, 2, (histories, questions)), world.copies, axis=1)  # chance to be right

    def answers() -> np.ndarray:
        drawn = rng.random((histories, questions))
        return np.repeat(drawn, world.copies, axis=1) < hard

    production, first = answers(), _improved(answers(), margin, rng)
    fixed = np.repeat(rng.random((histories, questions)) < world.same, world.copies, axis=1)
    candidate, passed = first, np.zeros(histories, int)
    for level in levels(gate, nights):
        new = _improved(answers(), margin, rng)
        kept = fixed | (world.follows & (rng.random(new.shape) < 0.1))
        candidate = np.where(kept, candidate, new)
        gains, losses = (candidate & ~production).sum(1), (production & ~candidate).sum(1)
        p_values = [
            p_value(g, k, ITEMS, margin) for g, k in zip(gains.tolist(), losses.tolist(), strict=True)
        ]
        passes = np.array(p_values) <= level
        passed += passes
        if world.follows:
            production = np.where(passes[:, None], candidate, production)
    return passed


def _improved(right: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """Some wrong answers become right, so that the accuracy grows by `gain`."""
    return right | (rng.random(right.shape) < gain / (1 - ACCURACY))
