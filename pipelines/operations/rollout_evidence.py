"""What the rollout analysis sees of live traffic, in the order in which the gateway wrote it.

A row keeps its place, and only the first feedback on an answer counts. So later traffic never changes what an
earlier analysis saw; its sequential tests depend on that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from pipelines.core.traffic_split import Adapter
from pipelines.policy.night.feedback import label_of, normalise
from pipelines.policy.rollout.observations import Attempt, Observations
from pipelines.policy.rollout.tenants import LEAST_ROWS, balanced, large_tenants
from pipelines.stores.journal.comparison import ComparedAnswer
from pipelines.stores.journal.reader import JournalReader

BEFORE = timedelta(days=7)  # tenants with traffic in this time before a stage are known to have some
T = TypeVar("T")


@dataclass(frozen=True)
class Evidence:
    """What one stage's traffic holds, each with its tenant, in the order in which it counts."""

    attempts: Sequence[tuple[str, Attempt]]
    ratings: Sequence[tuple[str, tuple[bool, bool]]]
    pairs: Sequence[tuple[str, tuple[bool, bool]]]

    def large_tenants(self) -> list[str]:
        """Tenants that hold a large share of any part."""
        parts = (self.attempts, self.ratings, self.pairs)
        return sorted({name for part in parts for name in large_tenants([tenant for tenant, _ in part])})

    def observations(self, seconds: float, left_out: str | None = None) -> Observations:
        """What the analysis sees, without one tenant if that is wanted."""
        return Observations(
            seconds,
            [one for tenant, one in self.attempts if tenant != left_out],
            [one for tenant, one in self.ratings if tenant != left_out],
            [one for tenant, one in self.pairs if tenant != left_out],
        )


def collect(
    journal: JournalReader,
    since: datetime,
    seconds: float,
    candidate: Adapter,
    production: Adapter | None,
    per_person: int,
    max_tenant_share: float = 1.0,
) -> Observations:
    """Traffic since the candidate entered this kind of stage (`since`); `seconds` is the age of the stage.

    At most `per_person` rated answers of a person count on each side; 0 counts all. No tenant has more than
    `max_tenant_share` of what counts, once two have traffic.
    """
    answers = journal.compared_answers(since, candidate, production)
    attempts = [(a.tenant, Attempt(a.is_candidate, a.is_error, a.refused, a.latency_ms)) for a in answers]
    rated = sorted((a for a in answers if a.feedback_seq and not a.fault), key=_feedback_order)
    ratings = [(a.tenant, (a.is_candidate, a.rating == 1)) for a in _capped(rated, per_person)]
    shadows = {a.parent: a for a in answers if a.route == "shadow" and not a.fault}
    pairs = _pairs(rated, shadows, per_person)
    if max_tenant_share >= 1:
        return Evidence(attempts, ratings, pairs).observations(seconds)
    before = journal.tenants(since - BEFORE, since)
    answering = [tenant for tenant, answered, _ in before if answered >= LEAST_ROWS]
    rating = [tenant for tenant, _, rated in before if rated >= LEAST_ROWS]
    counted = Evidence(
        _balanced(attempts, max_tenant_share, answering),
        _balanced(ratings, max_tenant_share, rating),
        _balanced(pairs, max_tenant_share, rating),
    )
    waiting = len(attempts) + len(ratings) - len(counted.attempts) - len(counted.ratings)
    without = [counted.observations(seconds, tenant) for tenant in counted.large_tenants()]
    return replace(counted.observations(seconds), waiting=waiting, without=without)


def _balanced(rows: Sequence[tuple[str, T]], share: float, known: Sequence[str]) -> list[tuple[str, T]]:
    return [rows[place] for place in balanced([tenant for tenant, _ in rows], share, known)]


def _feedback_order(answer: ComparedAnswer) -> int:
    return answer.feedback_seq or 0


def _capped(answers: Iterable[ComparedAnswer], most: int) -> Iterator[ComparedAnswer]:
    """The first `most` answers of each person on each side; 0: all of them."""
    taken: Counter[tuple[tuple[str, str], bool]] = Counter()
    for answer in answers:
        taken[answer.person, answer.is_candidate] += 1
        if not most or taken[answer.person, answer.is_candidate] <= most:
            yield answer


def _pairs(
    rated: Sequence[ComparedAnswer], shadows: Mapping[str | None, ComparedAnswer], per_person: int
) -> list[tuple[str, tuple[bool, bool]]]:
    """Tenant and (candidate right, production right), where production's user told the right answer."""
    both = [answer for answer in rated if answer.request_id in shadows]
    pairs = []
    for answer in _capped(both, per_person):
        label = label_of(answer.rating, answer.correction, answer.completion)
        if label is not None:
            shadow = shadows[answer.request_id]
            pair = _is(shadow.completion, label), _is(answer.completion, label)
            pairs.append((answer.tenant, pair))
    return pairs


def _is(completion: str, label: str) -> bool:
    return normalise(completion) == normalise(label)
