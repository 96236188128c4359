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


class Tonight(Part):
    rows: NonNegativeInt
    rows_in_lake: NonNegativeInt


class ColumnFinding(Part):
    """One column's test. `drifted`: it moved, and its movement counts as drift."""

    column: str
    about: str  # input, answer or operation
    method: str
    p_value: float
    p_adjusted: float
    moved: bool
    drifted: bool
    effect: float  # 0 is equal, 1 is disjoint


class TopicShare(Part):
    words: str
    reference_share: float
    tonight_share: float


class DriftFacts(Facts):
    """Without a comparison there are no columns, and `same_model` and `permutations` are unset."""

    step = "drift"
    drift: bool
    reference: Reference
    tonight: Tonight
    columns: tuple[ColumnFinding, ...]
    topics: tuple[TopicShare, ...]
    seed: int
    cap: int  # rows drawn at most from each side
    alpha: float
    same_model: bool | None = None
    permutations: int | None = None
