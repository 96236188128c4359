"""Small models that the facts of several steps share."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, NonNegativeInt, model_validator

from pipelines.core.facts.reading import Part

Kind = Literal["base", "adapter"]
Finding = Literal["worse", "not worse", "cannot conclude"]  # of a group, or of a harm


class Baseline(Part):
    """The model that a candidate is compared with: the bare base, or the LoRA adapter in production."""

    kind: Kind
    version: str = ""
    digest: str = ""
    nights: tuple[str, ...] = ()  # those it was trained on

    @property
    def name(self) -> str:
        return f"version {self.version}" if self.kind == "adapter" else "the base"


class Fresh(Part):
    """Fresh rows with a right answer: those that only the candidate, only production, or neither wins."""

    won: NonNegativeInt
    lost: NonNegativeInt
    neither: NonNegativeInt


class Asked(Fresh):
    """Items of the pool that were asked tonight. `position`: of the last one in the pool's order."""

    position: str
    left: NonNegativeInt  # that were never asked


class Waiting(Fresh):
    """A candidate whose improvement is not clear yet, and its fresh rows of `nights` nights so far.

    `run_id`: of its training. `level`: of its claim, as it was on its first night. `last_night`: the newest
    whose rows are counted. `pair`: names production, the base and the settings that it is measured under.
    `pool`: the same counts of items of the pool; None where it was asked none on its first night.
    """

    run_id: str
    level: float
    nights: NonNegativeInt
    last_night: date
    pair: str
    pool: Fresh | None = None


class Window(Part):
    """First and last of the nights whose deliveries may be learned from, and how many rows they brought."""

    first: date
    last: date
    rows: NonNegativeInt


class Flag(Part):
    """Feedback that looks as if one hand were behind it. `words` name no person and no text."""

    kind: Literal["burst", "copies", "agreement"]
    rows: NonNegativeInt
    words: str


class Interval(Part):
    """An estimate with its lower and upper limit."""

    value: float
    low: float
    high: float


class Change(Part):
    """Candidate minus production with its limits; without items there is no value."""

    value: float | None
    low: float
    high: float


class PairedCounts(Part):
    """How many items both models, one of them or neither answered rightly.

    Where an answer may be partly right, `only_candidate` counts the items on which the candidate scores
    higher, `only_production` those on which production does, and `neither` all others; `changes` are then the
    differences, candidate minus production in thousandths, each with the items that have it.
    """

    n: NonNegativeInt
    both: NonNegativeInt = 0
    only_production: NonNegativeInt
    only_candidate: NonNegativeInt
    neither: NonNegativeInt = 0
    changes: tuple[tuple[int, NonNegativeInt], ...] | None = None

    @model_validator(mode="after")
    def _fit(self) -> PairedCounts:
        if self.only_production + self.only_candidate > self.n:
            raise ValueError(f"more differing answers than the {self.n} items")
        if self.changes is not None and sum(count for _, count in self.changes) != self.n:
            raise ValueError(f"the differences are not those of {self.n} items")
        return self

    @property
    def differences(self) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """The differences that occur, in [-1, 1], and how many items have each."""
        if self.changes is None:
            won, lost = self.only_candidate, self.only_production
            return (1.0, -1.0, 0.0), (won, lost, self.n - won - lost)
        return tuple(one / 1000 for one, _ in self.changes), tuple(count for _, count in self.changes)


class Comparison(Part):
    """Mean scores of both models on the same `n` items, and the difference with its interval."""

    n: NonNegativeInt
    production: float
    candidate: float
    difference: Interval


class Ratio(Part):
    """A quantity of both models, and candidate over production."""

    production: float
    candidate: float
    ratio: float


class GroupFinding(Part):
    """What is found for one group.

    `production` and `candidate` are mean harms in [0, 1], up to 2 for a group with one right answer.
    `difference`, `low` and `high` are the growth of harm (above 0 is harm). Numbers are None without items.
    `needs_n` is the number of items that would settle what cannot be concluded.
    """

    n: NonNegativeInt
    production: float | None
    candidate: float | None
    difference: float | None
    low: float
    high: float
    answer: Finding
    needs_n: int | None = Field(default=None)
