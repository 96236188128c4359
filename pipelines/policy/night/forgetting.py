"""What a candidate lost on earlier nights' answers, where few people told the right one. Pure.

The target is the mean difference of candidate and production over the kept-back answers that people rated.
Of an answer that was disliked without correction only one wrong answer is known, so its difference lies in a
range (bounds in the manner of Manski, Partial Identification of Probability Distributions, 2003).

- `pass`: a loss beyond the limit is excluded, even with each range at its lower end.
- `fail`: even with each range at its upper end the loss is beyond the limit, and it is beyond chance where
  people rate answers that the candidate loses up to `odds` times as often as those that it wins (exact
  binomial test).
- else `cannot conclude`.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import binomtest

from pipelines.core.facts.evaluate import Forgetting
from pipelines.core.facts.gate import CheckAnswer
from pipelines.policy.stats.paired import CHANGES, mean_limits


@dataclass(frozen=True)
class Loss:
    """The answer; the mean difference at the lower and upper end of all ranges; and its limits.

    `for_labels`: the answer would be `pass` if what was disliked without correction spoke for the candidate.
    """

    answer: CheckAnswer
    n: int
    disliked: int  # of the `n` answers, without correction
    least: float
    most: float
    low: float
    high: float
    for_labels: bool

    def in_words(self) -> str:
        if self.answer == "pass":
            words = f"a loss beyond the limit is excluded on {self.n} rated answers"
        elif self.answer == "fail":
            words = f"the loss on {self.n} rated answers is beyond chance and beyond the limit"
        elif self.for_labels:
            words = f"the difference is {self.least:+.3f} to {self.most:+.3f} of {self.n} rated answers"
        else:
            words = f"a loss of {-self.low:.3f} is possible on {self.n} rated answers: ask more items"
        return f"{words}; {self.disliked} were disliked without correction" if self.disliked else words


def loss_of(part: Forgetting, limit: float, alpha: float, odds: float) -> Loss:
    """`limit`: the difference that may not be undercut, at most 0. Needs at least one answer."""
    gains, losses, may = part.paired.only_candidate, part.paired.only_production, part.disliked
    n = part.paired.n + may.count
    best, worst = gains + may.not_lost + may.open, losses + may.not_won + may.open
    least, most = (gains - worst) / n, (best - losses) / n
    low, _ = mean_limits(CHANGES, alpha, alpha, counts=(gains, worst, n - gains - worst))
    low_at_best, high = mean_limits(CHANGES, alpha, alpha, counts=(best, losses, n - best - losses))
    lost = most <= limit and beyond_chance(best, losses, odds, alpha)
    answer: CheckAnswer = "pass" if low >= limit else "fail" if lost else "cannot conclude"
    for_labels = answer == "cannot conclude" and low_at_best >= limit
    return Loss(answer, n, may.count, least, most, low, high, for_labels)


def beyond_chance(gains: int, losses: int, odds: float, alpha: float) -> bool:
    """Whether more answers are lost than people's rating explains, if as many are won."""
    if not losses:
        return False
    chance = odds / (1 + odds)
    return bool(binomtest(losses, gains + losses, chance, alternative="greater").pvalue <= alpha)
