"""The shadow's answers beside production's, where few people say which of the two is right. Pure.

The target is the mean difference over all pairs: 1 where only the candidate is right, -1 where only
production is, else 0. A pair has a range of what its difference may be:

| the two answers | the user                            | difference        |
|-----------------|-------------------------------------|-------------------|
| are the same    |                                     | 0                 |
| differ          | liked production's                  | -1                |
| differ          | corrected it                        | known             |
| differ          | disliked it, and corrected nothing  | 0 or 1            |
| differ          | did not rate it                     | -1, 0 or 1        |

Where the task writes free text, an answer that differs from the right one may be right too:

| the two answers | the user                                    | difference  |
|-----------------|---------------------------------------------|-------------|
| differ          | liked production's                          | -1 or 0     |
| differ          | corrected it, to the candidate's            | 1           |
| differ          | corrected it, to another text               | 0 or 1      |

Nothing is assumed of who corrects: those are bounds in the manner of Manski (Partial Identification of
Probability Distributions, 2003). For pairs that nobody rated there is a sensitivity model (Tan, "A
distributional approach for causal inference using propensity scores", JASA 101 (2006) 1619-1637): the odds
that a pair is rated depend on its difference by a factor of at most `odds`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Pair(NamedTuple):
    """A rated pair: whether the answers are the same, and the least and most that the difference may be."""

    same: bool
    least: int
    most: int


@dataclass(frozen=True)
class PairsFound:
    """Counts of pairs, and bounds on their mean difference (shares of all answers)."""

    same: int
    known: int  # the answers differ, and the user told which is right
    disliked: int  # they differ, and the user told only that production's is wrong
    unrated: int  # they differ
    least: float
    most: float

    @property
    def count(self) -> int:
        return self.same + self.known + self.disliked + self.unrated

    def numbers(self) -> dict[str, float]:
        counts = {"same": self.same, "known": self.known, "disliked": self.disliked, "unrated": self.unrated}
        bounds = {"difference_least": round(self.least, 4), "difference_most": round(self.most, 4)}
        return {"pairs": self.count} | {f"pairs_{name}": count for name, count in counts.items()} | bounds

    def in_words(self, margin: float) -> str:
        """One sentence for people, and another one where a loss by the margin is possible."""
        told = f"{self.known} known, {self.disliked} disliked without correction, {self.unrated} not rated"
        words = (
            f"over {self.count} answers the candidate is right {self.least:+.1%} to {self.most:+.1%} "
            f"against production ({self.same} the same, {told})"
        )
        if self.least > -margin:
            return words
        return f"{words}; whether it is worse cannot be concluded from that, so users' ratings decide later"


def pair_of(candidate: str, production: str, label: str | None, is_closed: bool = True) -> Pair:
    """The pair of two answers to a question; `label`: the right one, or None if production's was disliked.

    `is_closed`: an answer that differs from the right one is wrong.
    """
    if candidate == production:
        return Pair(True, 0, 0)
    if label is None:
        return Pair(False, 0, 1)
    difference = (candidate == label) - (production == label)
    if is_closed or candidate == label:
        return Pair(False, difference, difference)
    return Pair(False, -1, 0) if production == label else Pair(False, 0, 1)


def pairs_found(rated: Sequence[Pair], unrated: Sequence[bool], odds: float) -> PairsFound:
    """What is known of all pairs. `unrated`: for each that nobody rated, whether its answers are the same."""
    differing = [pair for pair in rated if not pair.same]
    n, unknown = len(rated) + len(unrated), len(unrated) - sum(unrated)
    known = sum(pair.least == pair.most for pair in differing)
    least = -_most_sum([-pair.least for pair in differing], unknown, odds)
    most = _most_sum([pair.most for pair in differing], unknown, odds)
    return PairsFound(
        same=n - len(differing) - unknown,
        known=known,
        disliked=len(differing) - known,
        unrated=unknown,
        least=least / n if n else -1.0,
        most=most / n if n else 1.0,
    )


def _most_sum(values: Sequence[int], unknown: int, odds: float) -> float:
    counts = Counter(values)
    return sum(values) + unknown * float(largest_mean(counts[1], counts[0], counts[-1], odds))


def largest_mean(won: ArrayLike, tied: ArrayLike, lost: ArrayLike, odds: float) -> NDArray[np.float64]:
    """The largest mean among the unrated, from the counts of the rated; 1 where nothing was rated.

    A value weighs 1 or `odds` times what it does among the rated, and the heavy ones are the largest.
    """
    won, tied, lost = (np.asarray(count, dtype=float) for count in (won, tied, lost))
    rated = won + tied + lost
    weights = np.stack([odds * won + tied + lost, odds * (won + tied) + lost])
    means = (odds * won - lost) / np.where(rated > 0, weights, 1.0)
    return np.where(rated > 0, means.max(axis=0), 1.0)
