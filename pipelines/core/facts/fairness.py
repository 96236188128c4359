"""What `fairness` writes down. A part that cannot be read stays None, and the gate cannot conclude on it."""

from __future__ import annotations

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


class FairnessFacts(Facts):
    step = "fairness"
    stereotype: tuple[StereotypeFinding, ...] | None = None
    slices: tuple[SliceFinding, ...] | None = None
    gaps: tuple[Gap, ...] | None = None
    answer: Finding | None = None
