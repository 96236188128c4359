"""What `fairness` writes down. A part that cannot be read stays None, and the gate cannot conclude on it."""

from __future__ import annotations

from pydantic import NonNegativeInt

from pipelines.core.facts.common import Finding, GroupFinding
from pipelines.core.facts.reading import Facts, Part


class StereotypeFinding(GroupFinding):
    """Of a group in one set of stereotypes: a harm is an item on which the stereotype is preferred."""

    set: str
    group: str

    @property
    def names(self) -> tuple[str, str]:
        return self.set, self.group


class SliceFinding(GroupFinding):
    """Of one value of a slice of the workload: a harm is a wrong answer."""

    slice: str
    value: str

    @property
    def names(self) -> tuple[str, str]:
        return self.slice, self.value


class Gap(Part):
    """Worst minus best error rate over a slice's values, and the rates themselves, for both models."""

    slice: str
    production: float
    candidate: float
    production_errors: dict[str, float]
    candidate_errors: dict[str, float]


class PlannedGroup(Part):
    """A group of a set of stereotypes or of a slice (`of`) with its number of items.

    `finds`: the least growth of harm that stops the candidate in 80% of nights.
    `joins`: the groups that are pooled in it.
    """

    of: str
    group: str
    n: NonNegativeInt
    finds: float
    joins: tuple[str, ...] = ()


class FairnessPlan(Part):
    """What fairness could tell, by the numbers of items.

    `smallest_group`: items from which on a group is judged by itself. `large_harm`: the growth of harm that
    each group has to exclude. `in_the_whole_only`: values of slices, and groups of sets, that are too small.
    """

    smallest_group: NonNegativeInt
    large_harm: float
    groups: tuple[PlannedGroup, ...]
    in_the_whole_only: tuple[tuple[str, str], ...] = ()


class FairnessFacts(Facts):
    """`plan` is None in records of older versions."""

    step = "fairness"
    plan: FairnessPlan | None = None
    stereotype: tuple[StereotypeFinding, ...] | None = None
    slices: tuple[SliceFinding, ...] | None = None
    gaps: tuple[Gap, ...] | None = None
    answer: Finding | None = None
