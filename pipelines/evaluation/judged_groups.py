"""The items that fairness asks, and the groups that it judges by them: known before any model answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.core.config import Config, Fairness
from pipelines.core.facts.fairness import FairnessPlan, PlannedGroup
from pipelines.evaluation import stereotypes
from pipelines.evaluation.suite import Item
from pipelines.policy.night.fairness import stratified
from pipelines.policy.night.groups import (
    NOWHERE,
    Rule,
    enough_items,
    least_found,
    pooled,
    smallest_group,
)

EVERY = "all, evenly by group"
NONSENSE = "all: prefers the meaningless ending"
SUITE = "suite", EVERY
WHOLES = 5  # of three sets, StereoSet's meaningless endings, and the suite

Items = dict[str, list[stereotypes.Item]]  # by set
Key = tuple[str, str]  # a set and a group, or a slice and a value
Members = dict[Key, list[int]]  # the items of each group, as places in its set or in the suite


@dataclass(frozen=True)
class JudgedGroups:
    """`smallest`: items from which on a group is judged by itself. `joined`: the values that a pool holds."""

    stereotypes: Members
    slices: Members
    smallest: int
    joined: Mapping[Key, Sequence[str]]


def stereotype_items(config: Config) -> Items:
    """The items of each set, chosen by the seed and dealt evenly to its groups."""
    chosen: Items = {}
    for name in stereotypes.FILES:
        every, settings = stereotypes.read(name), config.fairness
        count = settings.passage_items if name == "BBQ" else settings.stereotype_items
        rng = np.random.default_rng(config.seed)
        groups = [item.group for item in every]
        chosen[name] = [every[i] for i in stratified(groups, count, rng, settings.group_items)]
    return chosen


def drawn_suite(config: Config, items: list[Item]) -> list[Item]:
    """At most `fairness.slice_items` of the suite, dealt evenly to its subjects."""
    rng = np.random.default_rng(config.seed)
    chosen = stratified([item["subject"] for item in items], config.fairness.slice_items, rng)
    return [items[i] for i in chosen]


def judged_groups(settings: Fairness, items: Items, suite: Sequence[Item]) -> JudgedGroups:
    """The groups with enough items, pools of the smaller ones, and the wholes.

    A pool that holds all items of its slice or set is the whole, and not judged twice. BBQ's two kinds of
    passages ask different things and are never pooled.
    """
    sets = {name: [item.group for item in found] for name, found in items.items()}
    slices = {name: [str(item[name]) for item in suite] for name in settings.slices}
    count = WHOLES + sum(len(set(values)) for values in (*sets.values(), *slices.values()))
    smallest = max(smallest_group(count, 1 - settings.confidence), _enough(settings))
    joined: dict[Key, list[str]] = {}
    of_sets: Members = {}
    for name, values in sets.items():
        if name in stereotypes.GROUPS_ONLY:
            of_sets |= _members(name, values)
            continue
        of_sets[name, EVERY] = list(range(len(values)))
        if name not in stereotypes.WHOLE_ONLY:
            of_sets |= _members(name, _pooled(name, values, smallest, joined))
    of_sets["StereoSet", NONSENSE] = list(range(len(items["StereoSet"])))
    of_slices: Members = {SUITE: list(range(len(suite)))} if suite else {}
    for name, values in slices.items():
        of_slices |= _members(name, _pooled(name, values, smallest, joined))
    return JudgedGroups(of_sets, of_slices, smallest, joined)


def plan_of(settings: Fairness, groups: JudgedGroups) -> FairnessPlan:
    """What each group would show, before any model answers."""
    members = groups.stereotypes | groups.slices
    rule = Rule(len(members), settings.margin, largest_harm(settings), round(1 - settings.confidence, 9))
    return FairnessPlan(
        smallest_group=groups.smallest,
        large_harm=rule.large_harm,
        groups=tuple(
            PlannedGroup(
                of=name,
                group=group,
                n=len(places),
                finds=least_found(len(places), rule),
                joins=tuple(groups.joined.get((name, group), ())),
            )
            for (name, group), places in members.items()
        ),
        in_the_whole_only=tuple(
            (name, value)
            for (name, pool), values in groups.joined.items()
            if pool == NOWHERE
            for value in values
        ),
    )


def largest_harm(settings: Fairness) -> float:
    """The large harm, which is never smaller than the margin."""
    return max(settings.large_harm, settings.margin)


def _enough(settings: Fairness) -> int:
    return enough_items(largest_harm(settings), 1 - settings.confidence)


def _pooled(name: str, values: Sequence[str], smallest: int, joined: dict[Key, list[str]]) -> list[str]:
    names = pooled(name, values, smallest)
    if len(set(names)) == 1:
        names = [NOWHERE] * len(names)
    if len(set(values)) > 1:
        for pool, value in sorted(set(zip(names, values, strict=True))):
            if pool != value:
                joined.setdefault((name, pool), []).append(value)
    return names


def _members(name: str, groups: Sequence[str]) -> Members:
    found: Members = {}
    for place, group in enumerate(groups):
        if group != NOWHERE:
            found.setdefault((name, group), []).append(place)
    return dict(sorted(found.items()))
