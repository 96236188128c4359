"""What fairness leaves open: groups that hold the candidate although none is proven worse. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.core.config import Fairness, Gate
from pipelines.core.facts.fairness import FairnessFacts, SliceFinding, StereotypeFinding
from pipelines.core.facts.gate import CheckAnswer

BEFORE_PLANS = Fairness().large_harm  # for records without a plan
Judged = StereotypeFinding | SliceFinding


def answer_for(facts: FairnessFacts, settings: Gate) -> tuple[CheckAnswer, str]:
    """The gate's answer on all groups, and why.

    A proven growth by the margin fails. These cannot be concluded: a group whose harm grew by a large harm or
    more, perhaps by chance; too many groups without power; and, if the setting asks for it, any group that
    does not exclude the margin.
    """
    groups: list[Judged] = [*(facts.stereotype or ()), *(facts.slices or ())]
    large = facts.plan.large_harm if facts.plan else BEFORE_PLANS
    worse = sum(group.answer == "worse" for group in groups)
    unclear = [group for group in groups if group.answer == "cannot conclude"]
    alarming = [group for group in unclear if (group.difference or 0.0) >= large]
    powerless, most = len(without_power(groups, large)), settings.max_groups_without_power
    said = (
        f"{worse} of {len(groups)} groups worse; in {powerless} a growth of harm by {100 * large:.0f} points"
        f" is not excluded, where {math.floor(most * len(groups) + 1e-9)} may be so"
    )
    if alarming:
        first = max(alarming, key=lambda group: group.difference or 0.0)
        said += f"; {': '.join(first.names)} grew by {100 * (first.difference or 0.0):.0f}, perhaps by chance"
    if worse or facts.answer == "worse":
        return "fail", said
    holds = bool(alarming) or powerless > most * len(groups) + 1e-9
    if holds or (unclear and settings.hold_on_unclear_fairness):
        return "cannot conclude", said
    return "pass", said


def without_power(groups: Sequence[Judged], large_harm: float) -> list[Judged]:
    """The groups where neither `worse` is shown, nor a growth of harm by `large_harm` excluded."""
    return [group for group in groups if group.answer == "cannot conclude" and group.high >= large_harm]
