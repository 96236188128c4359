"""Which groups fairness judges, and how much harm it would find, planned from sizes before any answer. Pure.

A candidate is stopped where a group is `worse` by McNemar's exact test on its paired items (McNemar 1947), at
the level alpha over the number of groups, and where a group's harm grew by a large harm or more. In a small
group the test can never reject, or chance alone looks like a large harm. So small groups are pooled. For the
others the plan says how much harm would be found: the exact power of the test (Duffy 1984, "Asymptotic and
Exact Power for the McNemar Test and Its Analogue with R Controls Per Case").
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import binom

from pipelines.policy.night.proposal import language_of
from pipelines.policy.stats.paired import Floats, items_needed

POWER = 0.8  # the chance to find the harm that the plan names
CHURN = 0.1  # planned share of a group's items that get worse by chance; as many get better
MOSTLY = 0.98  # planned share of an equal candidate's groups that exclude a large harm
SMALLER = "the smaller ones"
NOWHERE = ""  # the group of items that are judged in the whole only

Parent = Callable[[str], str]
PARENTS: dict[str, tuple[Parent, ...]] = {
    "locale": (lambda locale: f"{language_of(locale)}: {SMALLER}", lambda _: SMALLER)
}
OF_OTHERS: tuple[Parent, ...] = (lambda _: SMALLER,)


def smallest_group(groups: int, alpha: float) -> int:
    """Items from which on a group that falls from all right to all wrong is always `worse`.

    Where n items change and all get worse, the p-value of McNemar's exact test is 2^-n. It has to be below
    alpha / groups.
    """
    return math.floor(math.log2(max(groups, 1) / alpha)) + 1


def pooled(name: str, values: Sequence[str], smallest: int) -> list[str]:
    """The group that judges each item. `values`: its own group in the slice or set called `name`.

    A group with fewer items than `smallest` joins the other small ones: locales those of their language
    first, then all. Where these are too few together, they are judged in the whole only.
    """
    names = list(values)
    for parent in (*PARENTS.get(name, OF_OTHERS), lambda _: NOWHERE):
        sizes = Counter(names)
        names = [
            one if sizes[one] >= smallest else parent(value) for one, value in zip(names, values, strict=True)
        ]
    return names


@dataclass(frozen=True)
class Rule:
    """When a group stops the candidate: harms are shares of its items, `alpha` is over all `groups`."""

    groups: int
    margin: float
    large_harm: float
    alpha: float


@cache
def least_found(n: int, rule: Rule, churn: float = CHURN) -> float:
    """The least growth of harm, in steps of 0.01, that stops the candidate with a chance of POWER.

    In a group of `n` items, 1 or more.
    """
    return bisect_left(range(101), POWER, key=lambda step: chance_to_stop(n, step / 100, rule, churn)) / 100


def chance_to_stop(n: int, growth: float, rule: Rule, churn: float) -> float:
    """The chance that a group of `n` items stops the candidate where its harm grew by `growth`.

    Each item gets worse with probability `growth` + `churn` and better with probability `churn`, or less
    where both do not fit. Exact but for outcomes with a probability of 1e-9 together.
    """
    back = min(churn, (1 - growth) / 2)
    differing = growth + 2 * back
    if not differing:
        return 0.0
    low, high = binom.ppf((1e-9, 1 - 1e-9), n, differing)
    changed = np.arange(low, high + 1)
    rejects = np.maximum(
        binom.isf(rule.alpha / rule.groups, changed, 0.5) + 1, _worsened(changed, n * rule.margin)
    )
    stops = np.minimum(rejects, _worsened(changed, n * rule.large_harm))
    found = binom.sf(stops - 1, changed, (growth + back) / differing)
    return float(binom.pmf(changed, n, differing) @ found)


def _worsened(changed: Floats, net: float) -> Floats:
    """How many of the changed items get worse where harm grows by `net` items or more."""
    return np.ceil((changed + net) / 2 - 1e-9)


def enough_items(large_harm: float, alpha: float, churn: float = CHURN) -> int:
    """Items with which an equal candidate's group excludes a growth of harm by `large_harm`, mostly.

    By the normal approximation, with one more item of the worst kind, as the limit of the mean has it.
    """
    n = 1
    while n < items_needed(2 * churn + 1 / n, large_harm, large_harm, alpha, MOSTLY):
        n += 1
    return n
