"""How much one tenant may weigh in a rollout. Pure.

Answers count in an order in which no tenant holds more than a stated share. What one tenant has too much of
waits for others. The order depends on who sent an answer and when, never on its outcome, and a later look
only adds to its end: so the sequential tests keep their error rates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

LEAST_ROWS = 20  # of a tenant that counts as one with traffic
LARGE_SHARE = 0.1  # a tenant with as much as this is left out in turn


class Balance:
    """Which rows count so far. `known`: tenants that had traffic before the first row.

    Rows count at once until two tenants have traffic. From then on each tenant counts up to the same number
    of rows: the largest with which the largest tenant holds no more than `most_share`.
    """

    def __init__(self, most_share: float, known: Collection[str] = ()) -> None:
        self._most_share, self._active = most_share, set(known)
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        self._counted: Counter[str] = Counter()
        self._with_as_many: Counter[int] = Counter()  # tenants that have at least so many rows
        self._each, self._total = 0, 0  # rows that count of each tenant at most, and of all

    def add(self, place: int, tenant: str) -> list[int]:
        """A row arrives. Returns the places of the rows that count from now on, in order."""
        rows = self._places[tenant]
        rows.append(place)
        self._with_as_many[len(rows)] += 1
        if len(rows) >= LEAST_ROWS:
            self._active.add(tenant)
        if len(self._active) < 2:
            self._counted[tenant] += 1
            return [place]
        return sorted(self._release(tenant))

    def _release(self, tenant: str) -> Iterator[int]:
        if len(self._places[tenant]) <= self._each:
            self._total += 1
            yield from self._next(tenant)
        while self._fits():
            self._total += self._with_as_many[self._each + 1]
            self._each += 1
            for other in self._places:
                yield from self._next(other)

    def _next(self, tenant: str) -> Iterator[int]:
        """The tenant's next row, if it counts by now and did not before."""
        rows, done = self._places[tenant], self._counted[tenant]
        if done < min(len(rows), self._each):
            self._counted[tenant] += 1
            yield rows[done]

    def _fits(self) -> bool:
        """Whether one more row of each tenant that has one leaves the largest within its share."""
        more = self._with_as_many[self._each + 1]
        return more > 0 and self._each + 1 <= self._most_share * (self._total + more)


def balanced(tenants: Sequence[str], most_share: float, known: Collection[str] = ()) -> list[int]:
    """The places of the rows that count, in the order in which they do."""
    if most_share >= 1:
        return list(range(len(tenants)))
    balance = Balance(most_share, known)
    return [counted for place, tenant in enumerate(tenants) for counted in balance.add(place, tenant)]


def large_tenants(tenants: Sequence[str]) -> list[str]:
    """Tenants that hold a large share of the rows that count; [] where there is only one tenant."""
    counts = Counter(tenants)
    if len(counts) < 2:
        return []
    return sorted(tenant for tenant, count in counts.items() if count >= LARGE_SHARE * len(tenants))
