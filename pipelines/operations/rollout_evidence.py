"""What the rollout analysis sees of live traffic, in the order in which the gateway wrote it.

A row keeps its place, and only the first feedback on an answer counts. So later traffic never changes what an
earlier analysis saw; its sequential tests depend on that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from pipelines.core.traffic_split import Adapter
from pipelines.policy.night.feedback import label_of, normalise
from pipelines.policy.rollout.observations import Attempt, Observations
from pipelines.stores.journal.comparison import ComparedAnswer
from pipelines.stores.journal.reader import JournalReader


def collect(
    journal: JournalReader,
    since: datetime,
    seconds: float,
    candidate: Adapter,
    production: Adapter | None,
    per_person: int,
) -> Observations:
    """Traffic since the candidate entered this kind of stage (`since`); `seconds` is the age of the stage.

    At most `per_person` rated answers of a person count on each side; 0 counts all.
    """
    answers = journal.compared_answers(since, candidate, production)
    attempts = [Attempt(a.is_candidate, a.is_error, a.refused, a.latency_ms) for a in answers]
    rated = sorted((a for a in answers if a.feedback_seq and not a.fault), key=_feedback_order)
    ratings = [(a.is_candidate, a.rating == 1) for a in _capped(rated, per_person)]
    shadows = {a.parent: a for a in answers if a.route == "shadow" and not a.fault}
    return Observations(seconds, attempts, ratings, _pairs(rated, shadows, per_person))


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
) -> list[tuple[bool, bool]]:
    """(candidate right, production right) on questions whose right answer is known from production's user."""
    both = [answer for answer in rated if answer.request_id in shadows]
    pairs = []
    for answer in _capped(both, per_person):
        label = label_of(answer.rating, answer.correction, answer.completion)
        if label is not None:
            shadow = shadows[answer.request_id]
            pairs.append((_is(shadow.completion, label), _is(answer.completion, label)))
    return pairs


def _is(completion: str, label: str) -> bool:
    return normalise(completion) == normalise(label)
