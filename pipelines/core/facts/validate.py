"""What `validate` writes down."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import NonNegativeInt

from pipelines.core.facts.reading import Facts, Part


class RuleFinding(Part):
    """A rule on single rows: how many rows broke it, and the first of them."""

    reason: str
    column: str
    rows: NonNegativeInt
    first_rows: tuple[int, ...]


class ValidateFacts(Facts):
    """`night`: the night's totals by column of the data contract. `published`: day -> rows in the lake."""

    step = "validate"
    night: Mapping[str, int | float | None]
    quarantined: NonNegativeInt
    rules: tuple[RuleFinding, ...]
    published: dict[str, NonNegativeInt]
    where: dict[str, str]
