"""What the rollout analysis sees of live traffic, in the order in which the gateway wrote it.

A row keeps its place, and only the first feedback on an answer counts. So later traffic never changes what an
earlier analysis saw; its sequential tests depend on that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from pipelines.core.traffic_split import Adapter
from pipelines.evaluation.tasks import Task, comparable
from pipelines.policy.night.feedback import label_of
from pipelines.policy.rollout.observations import Attempt
from pipelines.policy.rollout.pairs import Pair, pair_of
from pipelines.policy.rollout.tenants import LEAST_ROWS, balanced, large_tenants
from pipelines.policy.rollout.traffic import Person, Traffic
from pipelines.stores.journal.comparison import ComparedAnswer
from pipelines.stores.journal.reader import JournalReader

BEFORE = timedelta(days=7)  # tenants with traffic in this time before a stage are known to have some
T = TypeVar("T")


def collect(
    journal: JournalReader,
    since: datetime,
    seconds: float,
    candidate: Adapter,
    production: Adapter | None,
    task: Task,
    per_person: int,
    max_tenant_share: float = 1.0,
) -> Traffic:
    """Traffic since the candidate entered this kind of stage (`since`); `seconds` is the age of the stage.

    At most `per_person` rated answers of a person count on each side; 0 counts all. No tenant has more than
    `max_tenant_share` of what counts, once two have traffic.
    """
    answers = journal.compared_answers(since, candidate, production)
    attempts = [(a.person, Attempt(a.is_candidate, a.is_error, a.refused, a.latency_ms)) for a in answers]
    rated = sorted((a for a in answers if a.feedback_seq and not a.fault), key=_feedback_order)
    ratings = [(a.person, (a.is_candidate, a.rating == 1)) for a in _capped(rated, per_person)]
    shadows = {a.parent: a for a in answers if a.route == "shadow" and not a.fault}
    both = [a for a in answers if a.request_id in shadows and not a.fault]
    pairs = _pairs(sorted(filter(_told, both), key=_feedback_order), shadows, task, per_person)
    unrated = [(a.person, _same(a, shadows, task)) for a in both if not _told(a)]
    if max_tenant_share >= 1:
        return Traffic(seconds, attempts, ratings, pairs, unrated)
    before = journal.tenants(since - BEFORE, since)
    answering = [tenant for tenant, answered, _ in before if answered >= LEAST_ROWS]
    rating = [tenant for tenant, _, rated in before if rated >= LEAST_ROWS]
    counted = Traffic(
        seconds,
        _balanced(attempts, max_tenant_share, answering),
        _balanced(ratings, max_tenant_share, rating),
        _balanced(pairs, max_tenant_share, rating),
        _balanced(unrated, max_tenant_share, answering),
    )
    waiting = len(attempts) + len(ratings) - len(counted.attempts) - len(counted.ratings)
    return replace(counted, waiting=waiting, large_tenants=_large_tenants(counted))


def _large_tenants(traffic: Traffic) -> list[str]:
    """Tenants that hold a large share of any part."""
    parts = (traffic.attempts, traffic.ratings, traffic.pairs)
    return sorted({name for part in parts for name in large_tenants([tenant for (tenant, _), _ in part])})


def _balanced(rows: Sequence[tuple[Person, T]], share: float, known: Sequence[str]) -> list[tuple[Person, T]]:
    return [rows[place] for place in balanced([tenant for (tenant, _), _ in rows], share, known)]


def _feedback_order(answer: ComparedAnswer) -> int:
    return answer.feedback_seq or 0


def _capped(answers: Iterable[ComparedAnswer], most: int) -> Iterator[ComparedAnswer]:
    """The first `most` answers of each person on each side; 0: all of them."""
    taken: Counter[tuple[Person, bool]] = Counter()
    for answer in answers:
        taken[answer.person, answer.is_candidate] += 1
        if not most or taken[answer.person, answer.is_candidate] <= most:
            yield answer


def _pairs(
    rated: Iterable[ComparedAnswer],
    shadows: Mapping[str | None, ComparedAnswer],
    task: Task,
    per_person: int,
) -> list[tuple[Person, Pair]]:
    """Person and pair of each answer of production that a user rated."""
    pairs = []
    for answer in _capped(rated, per_person):
        label = label_of(answer.rating, answer.correction, answer.completion)
        pair = pair_of(
            comparable(task, shadows[answer.request_id].completion),
            comparable(task, answer.completion),
            None if label is None else comparable(task, label),
            task.is_closed,
        )
        pairs.append((answer.person, pair))
    return pairs


def _told(answer: ComparedAnswer) -> bool:
    """Whether a user said that an answer is right, that it is wrong, or what is right."""
    known = label_of(answer.rating, answer.correction, answer.completion) is not None
    return known or answer.rating == -1


def _same(answer: ComparedAnswer, shadows: Mapping[str | None, ComparedAnswer], task: Task) -> bool:
    return comparable(task, answer.completion) == comparable(task, shadows[answer.request_id].completion)
