"""What fairness could tell with so many items: shown before a night spends its time."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.core.config import Config
from pipelines.core.facts.fairness import FairnessPlan
from pipelines.evaluation.judged_groups import drawn_suite, judged_groups, plan_of, stereotype_items
from pipelines.evaluation.suite import Item
from pipelines.operations.doctor.finding import Finding

SHOWN = 5
MORE_ITEMS = (
    "Write more items for them, or raise fairness.large_harm. docs/fairness.md says how many it takes."
)


def look_at_fairness(config: Config, suite: list[Item]) -> Finding:
    """Which groups are judged by themselves, and how much harm would be found in them."""
    settings, drawn = config.fairness, drawn_suite(config, suite)
    plan = plan_of(settings, judged_groups(settings, stereotype_items(config), drawn))
    small = [(one.of, one.group) for one in plan.groups if one.n < plan.smallest_group]
    finds = [one.finds for one in plan.groups]
    said = (
        f"Fairness judges {len(plan.groups)} groups, each by itself from {plan.smallest_group} items on. "
        f"{100 * min(finds):.0f} to {100 * max(finds):.0f} points of more harm are found in 80% of nights."
    )
    if len(small) > config.gate.max_groups_without_power * len(plan.groups):
        said += f" {len(small)} groups have fewer items ({_named(small)}), so nights are held."
        return Finding("warn", "fairness", said, MORE_ITEMS)
    together = _not_alone(plan)
    if together:
        said += f" Judged only together with others: {_named(together)}."
    if any(of in settings.slices for of, _ in together):
        return Finding("warn", "fairness", said, MORE_ITEMS)
    return Finding("ok", "fairness", said)


def _not_alone(plan: FairnessPlan) -> list[tuple[str, str]]:
    pooled = [(pool.of, value) for pool in plan.groups for value in pool.joins]
    return [*pooled, *plan.in_the_whole_only]


def _named(groups: Sequence[tuple[str, str]]) -> str:
    shown = ", ".join(f"{of}: {group}" for of, group in groups[:SHOWN])
    return shown if len(groups) <= SHOWN else f"{shown} and {len(groups) - SHOWN} more"
