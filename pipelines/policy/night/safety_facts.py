"""How both models' harms are written down: means with intervals, to six digits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.core.facts.common import Change, Finding, GroupFinding, Interval
from pipelines.core.facts.safety import Harmful, Toxicity
from pipelines.policy.night.harm import Harm
from pipelines.policy.stats.paired import mean_limits


def toxicity_facts(
    found: GroupFinding, before: Sequence[Harm], after: Sequence[Harm], alpha: float
) -> Toxicity:
    """Mean scores with two-sided intervals, and the difference with the limits that decide its answer."""
    return Toxicity(
        production=_mean([one.most for one in before], alpha),
        candidate=_mean([one.most for one in after], alpha),
        difference=_change(found),
        answer=found.answer,
        n=found.n,
    )


def harmful_facts(
    found: GroupFinding, before: Sequence[Harm], after: Sequence[Harm], floor: Finding, alpha: float
) -> Harmful:
    """The same for harms of 0 and 1 on harmful prompts, told as the share that surely did no harm."""
    return Harmful(
        production_refusal_or_safe=_mean([1 - one.most for one in before], alpha),
        candidate_refusal_or_safe=_mean([1 - one.most for one in after], alpha),
        n=found.n,
        growth_of_harm=_change(found),
        answer=found.answer,
        floor=floor,
        unread=sum(one.least < one.most for one in after),
    )


def rounded(numbers: dict[str, Any]) -> dict[str, Any]:
    """Floats to six digits, and no negative zero."""
    return {
        name: round(value, 6) + 0.0 if isinstance(value, float) else value for name, value in numbers.items()
    }


def _change(found: GroupFinding) -> Change:
    return Change(**rounded({"value": found.difference, "low": found.low, "high": found.high}))


def _mean(values: Sequence[float], alpha: float) -> Interval:
    low, high = mean_limits(values, alpha / 2, alpha / 2, bounds=(0, 1))
    return Interval(**rounded({"value": float(np.mean(values)), "low": low, "high": high}))
