"""A stage's traffic, each row with the person whose it is. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pipelines.policy.rollout.observations import Attempt, Copies, Observations
from pipelines.policy.rollout.pairs import Pair

Person = tuple[str, str]  # tenant and subject
T = TypeVar("T")


@dataclass(frozen=True)
class Traffic:
    """The rows that count, in the order in which they do; the other fields are those of `Observations`."""

    seconds: float
    attempts: Sequence[tuple[Person, Attempt]] = ()
    ratings: Sequence[tuple[Person, tuple[bool, bool]]] = ()
    pairs: Sequence[tuple[Person, Pair]] = ()
    unrated: Sequence[tuple[Person, bool]] = ()
    waiting: int = 0
    large_tenants: Sequence[str] = ()  # a decision must hold without each of them
    copies: Copies = field(default_factory=Copies)

    def observations(self, gone: Collection[Person] = ()) -> Observations:
        """What the analysis sees, without the people who are gone."""
        without = tuple(self._seen(gone, tenant) for tenant in self.large_tenants)
        return self._seen(gone, None, without)

    def _seen(
        self, gone: Collection[Person], tenant: str | None, without: Sequence[Observations] = ()
    ) -> Observations:
        def left(rows: Sequence[tuple[Person, T]]) -> list[T]:
            return [row for person, row in rows if person not in gone and person[0] != tenant]

        return Observations(
            self.seconds,
            left(self.attempts),
            left(self.ratings),
            left(self.pairs),
            left(self.unrated),
            self.waiting,
            without,
            self.copies,
        )
