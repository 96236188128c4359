"""What the ledger keeps of a rollout's analysis beside its reasons. Older moves have none of it."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt

from pipelines.core.facts.reading import Part


class RolloutLeftOut(Part):
    """The analysis without those who speak most for its decision in one measure. People are never named.

    `p_value`: the share of clean worlds in which as much rests on as few; None where the answer is the same.
    """

    measure: str  # liked, pairs, errors, refusals or latency
    tenant: str | None  # None: three people
    rows: NonNegativeInt  # of the measure, that are left out
    answer: Literal["continue", "promote", "abort"]
    p_value: float | None

    @property
    def who(self) -> str:
        return "three people" if self.tenant is None else f"the tenant {self.tenant}"
