"""Does the candidate still follow instructions? Pure.

The limits are Gaffke's, as for the improvement: for right and wrong answers the lower one reaches a margin of
0 exactly where McNemar's test rejects. Both hold at the gate's alpha.
"""

from __future__ import annotations

from pipelines.core.facts.common import PairedCounts
from pipelines.core.facts.gate import Check, CheckAnswer
from pipelines.policy.night.measured import Measured
from pipelines.policy.stats.paired import mean_limits, mean_p_value


def instruction_check(found: Measured, margin: float, alpha: float) -> list[Check]:
    """The row of the gate's table; none where nobody was asked, as in older facts."""
    row = Check(
        check="instructions",
        measure="packaged instructions followed, candidate minus production",
        answer="cannot conclude",
        detail=found.lacks("evaluate.instructions", "no instruction was asked"),
        limit=-margin,
    )
    part = found.evaluate.instructions
    if part is None or not part.paired.n:
        return [row] if part or "evaluate.instructions" in found.unreadable else []
    paired = part.paired
    low, high = limits(paired, alpha)
    answer, detail = conclusion(paired, margin, alpha)
    changes = {
        "answer": answer,
        "detail": detail,
        "value": (paired.only_candidate - paired.only_production) / paired.n,
        "low": low,
        "high": high,
        "p_value": mean_p_value(paired.differences[0], -margin, counts=paired.differences[1]),
        "blocks": not says_nothing(paired, margin, alpha),
    }
    return [row.model_copy(update=changes)]


def conclusion(paired: PairedCounts, margin: float, alpha: float) -> tuple[CheckAnswer, str]:
    """Whether a loss by the margin or more is excluded, proven, or neither; with a sentence."""
    low, high = limits(paired, alpha)
    before, after = (paired.both + one for one in (paired.only_production, paired.only_candidate))
    told = f"of {paired.n} instructions production follows {before}, the candidate {after}"
    if says_nothing(paired, margin, alpha):
        return "cannot conclude", f"{told}: a candidate that follows none would lose no more than it may"
    if low >= -margin:
        return "pass", f"{told}: a loss beyond the limit is excluded"
    if high < 0 and after - before <= -margin * paired.n:
        return "fail", f"{told}: the loss is beyond chance and beyond the limit"
    return "cannot conclude", f"{told}: a loss of {-low:.3f} is possible"


def says_nothing(paired: PairedCounts, margin: float, alpha: float) -> bool:
    """Whether even a candidate that follows none would pass, because production follows so few.

    Then nothing can be lost that the check would see, and it neither passes nor holds a candidate.
    """
    followed = paired.both + paired.only_production
    none = PairedCounts(n=paired.n, only_production=followed, only_candidate=0, neither=paired.n - followed)
    return limits(none, alpha)[0] >= -margin


def limits(paired: PairedCounts, alpha: float) -> tuple[float, float]:
    """One-sided limits of the difference, candidate minus production, each at this error rate."""
    values, counts = paired.differences
    return mean_limits(values, alpha, alpha, counts=counts)
