"""What `features` writes down."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import NonNegativeInt

from pipelines.core.facts.reading import Facts, Part

Value = int | float | str | None


class Difference(Part):
    """A feature of one entity that differs between the two stores. A person stands there as a pseudonym."""

    entity: str
    feature: str
    offline: Value
    online: Value


class Parity(Part):
    """How the online store compares with the offline one; the first 50 differences."""

    compared: NonNegativeInt
    differences: tuple[Difference, ...]
    tolerance: float
    max_age_hours: int | float


class FeaturesFacts(Facts):
    """By feature view: how many entities it has, and the sums of its request counts."""

    step = "features"
    as_of: str  # ISO 8601
    entities: dict[str, NonNegativeInt]
    totals: Mapping[str, Mapping[str, int | None]]
    parity: Parity
