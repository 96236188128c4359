"""What `drift` writes down."""

from __future__ import annotations

from datetime import date

from pydantic import NonNegativeInt

from pipelines.core.facts.reading import Facts, Part


class Reference(Part):
    """The nights that tonight is compared with, and how many of their rows were drawn."""

    source: str
    nights: tuple[date, ...]
    rows: NonNegativeInt
    rows_in_lake: NonNegativeInt
    left_out: tuple[date, ...] = ()  # nights with too few rows to be compared


class Tonight(Part):
    rows: NonNegativeInt
    rows_in_lake: NonNegativeInt
    people: NonNegativeInt | None = None  # who asked the rows that are compared
    over_the_cap: NonNegativeInt | None = None  # rows in the lake beyond `rows_per_person`
    # Compared rows without a known person: their conversation, or else the row itself, counts as one.
    without_person: NonNegativeInt | None = None


class ColumnFinding(Part):
    """How far tonight is in one column. `drifted`: it moved, and its movement counts as drift.

    `distances` are those of each compared night from the others, tonight's last; 0 is equal, 1 is disjoint.
    Records of older versions have a `p_value` without correction, and no distances.
    """

    column: str
    about: str  # input, answer or operation
    method: str
    p_value: float | None = None
    p_adjusted: float
    moved: bool
    drifted: bool
    effect: float  # tonight's distance
    excess: float | None = None  # how much farther than nights usually are
    distances: tuple[float, ...] = ()


class TopicShare(Part):
    words: str
    reference_share: float
    tonight_share: float


class DriftFacts(Facts):
    """Without a comparison there are no columns. `rule` says what decided, or "cannot conclude".

    Records of older versions have `permutations`, and no rule, smallest effect or cap of a person.
    """

    step = "drift"
    drift: bool
    reference: Reference
    tonight: Tonight
    columns: tuple[ColumnFinding, ...]
    topics: tuple[TopicShare, ...]
    seed: int
    cap: int  # rows drawn at most from a night
    alpha: float
    rule: str | None = None
    smallest_effect: float | None = None
    rows_per_person: int | None = None
    same_model: bool | None = None
    weekdays_matched: bool | None = None  # nights were compared with those of their weekday; older: None
    permutations: int | None = None
