"""How much one person and one tenant may weigh, so that no script starts or fills a training. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_ROWS = 20  # of a tenant that counts as one with traffic
LEAST_PEOPLE = 10


@dataclass(frozen=True)
class TenantFeedback:
    """A tenant's labelled rows, how many are left once each person is capped, and its busiest people."""

    rows: int
    capped: int
    largest: Sequence[int] = ()  # rows of the people with the most, capped


@dataclass(frozen=True)
class Weighed:
    """The labelled rows that count, why others do not, and who weighs most among those that do."""

    rows: int
    over_person: int
    over_tenant: int
    largest_tenant: str
    largest_tenant_share: float
    largest_people_share: float  # of the three people with the most rows

    def in_words(self) -> str:
        """A sentence about the rows that do not count; empty where all do."""
        why = ((self.over_person, "one person"), (self.over_tenant, "one tenant"))
        said = [f"{count} are more than {whose} may give" for count, whose in why if count]
        return f"{self.rows} count: {' and '.join(said)}" if said else ""


def person_limit(people: int, rows_per_person: int) -> int | None:
    """The most rows of one person that count, where so many people gave any; None is no limit.

    There is no limit until ten people did: a lone credential may stand for all users of a service.
    """
    return rows_per_person if people >= LEAST_PEOPLE else None


def limit_of_a_person(people: Mapping[str, Mapping[int, int]], rows_per_person: int) -> int | None:
    """The limit for such feedback: tenant -> labelled rows of a person -> how many people gave so many."""
    return person_limit(sum(sum(given.values()) for given in people.values()), rows_per_person)


def capped_by_person(people: Mapping[str, Mapping[int, int]], limit: int | None) -> dict[str, TenantFeedback]:
    """The labelled rows of each tenant, and what is left with `limit` of a person."""
    found = {}
    for tenant, given in sorted(people.items()):
        capped = {rows: rows if limit is None else min(rows, limit) for rows in given}
        most = [capped[rows] for rows in sorted(given, reverse=True)[:3] for _ in range(min(given[rows], 3))]
        found[tenant] = TenantFeedback(
            rows=sum(rows * count for rows, count in given.items()),
            capped=sum(capped[rows] * count for rows, count in given.items()),
            largest=most[:3],
        )
    return found


def capped_total(people: Mapping[str, Mapping[int, int]], limit: int | None) -> int:
    """How many rows are left with `limit` of a person."""
    return sum(one.capped for one in capped_by_person(people, limit).values())


def weighed(tenants: Mapping[str, TenantFeedback], most_share: float) -> Weighed:
    """What counts of these tenants' labelled rows."""
    limit = tenant_limit([one.capped for one in tenants.values()], most_share)
    counts = {name: min(one.capped, limit) for name, one in tenants.items()}
    total, capped = sum(counts.values()), sum(one.capped for one in tenants.values())
    largest = max(counts, key=lambda name: (counts[name], name), default="")
    people = sorted((rows for one in tenants.values() for rows in one.largest), reverse=True)[:3]
    return Weighed(
        rows=total,
        over_person=sum(one.rows for one in tenants.values()) - capped,
        over_tenant=capped - total,
        largest_tenant=largest,
        largest_tenant_share=round(counts[largest] / total, 4) if total else 0.0,
        largest_people_share=round(min(1.0, sum(people) / total), 4) if total else 0.0,
    )


def tenant_limit(counts: Collection[int], most_share: float) -> int:
    """The most rows of one tenant that count, so that none holds more than `most_share` of all that do.

    There is no limit until two tenants have traffic. Equal shares are always allowed.
    """
    largest = max(counts, default=0)
    if sum(count >= LEAST_ROWS for count in counts) < 2:
        return largest
    share = max(most_share, 1 / len(counts))
    low, high = 0, largest  # the share of the largest tenant grows with the limit
    while low < high:
        middle = (low + high + 1) // 2
        if middle <= share * sum(min(count, middle) for count in counts) + 1e-9:
            low = middle
        else:
            high = middle - 1
    return low


def over_the_tenant_cap(
    rows: Sequence[Mapping[str, Any]], most_share: float, rng: np.random.Generator
) -> list[int]:
    """The places of rows, drawn at random, by which a tenant has more than it may."""
    places: dict[str, list[int]] = {}
    for place in rng.permutation(len(rows)).tolist():
        places.setdefault(rows[place]["tenant"], []).append(place)
    limit = tenant_limit([len(found) for found in places.values()], most_share)
    return sorted(place for found in places.values() for place in found[limit:])
