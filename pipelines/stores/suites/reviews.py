"""What people said of proposed items. The ledger's row decides; it names digests, never a text.

A person's own answer lies below `shared_root`, under the digest that the row names, and is there before it.
Of two people who review one item at once, the first one's row counts, and the second is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.core.errors import InputError, IntegrityError
from pipelines.stores import open_ledger, open_shared
from pipelines.stores.ledger.reading import read_rows
from pipelines.stores.ledger.tables import REVIEWS
from pipelines.stores.suites.answers import refusal
from pipelines.stores.suites.proposals import Proposal

ANSWERS = "suites/answers"  # below shared_root
OLDEST_FIRST = sa.select(REVIEWS).order_by(REVIEWS.c.item, REVIEWS.c.number)
Verdict = Literal["accepted", "edited", "dropped", "reopened"]
IN = ("accepted", "edited")  # verdicts by which an item belongs in the suite


@dataclass(frozen=True)
class Review:
    """One word on one item. `number`: how many there are of the item with it. `answer`: digest of an edit."""

    item: str
    number: int
    at: str
    verdict: Verdict
    answer: str
    actor: str


History = dict[str, list[Review]]  # an item's digest -> its reviews, oldest first


def reviews(config: Config) -> History:
    """All reviews. A ledger that is not there yet has none, and is not created."""
    found: History = {}
    (rows,) = read_rows(config.path(config.ledger_url), OLDEST_FIRST)
    for row in rows:
        found.setdefault(row["item"], []).append(Review(**row))
    return found


def standing(said: Sequence[Review]) -> Review | None:
    """The review that counts: the last one, unless it took back the one before."""
    return said[-1] if said and said[-1].verdict != "reopened" else None


def is_open(said: Sequence[Review]) -> bool:
    """Whether an item waits for a person."""
    return standing(said) is None


def unreviewed(proposed: Mapping[str, Proposal], said: History) -> list[Proposal]:
    """The items that wait for a person. Of several with one question only the newest does."""
    newest = {one.key: one for one in proposed.values()}
    return [one for one in newest.values() if is_open(said.get(one.digest, ()))]


def own_answer(config: Config, review: Review) -> str:
    """The answer that a person wrote. Raises IntegrityError where it is not there as they wrote it."""
    path = f"{ANSWERS}/{review.answer}.txt"
    data = open_shared(config).read_many([path]).get(path, b"")
    if hashlib.sha256(data).hexdigest() != review.answer:
        raise IntegrityError(
            f"The answer that {review.actor} wrote for the item {review.item[:12]} is gone or was changed.",
            "Take the review back with `nightshift suite review reopen`, and review the item again.",
        )
    return data.decode()


def accept(config: Config, one: Proposal, seen: int, actor: str, answer: str | None = None) -> Review:
    """The item belongs in the suite. With another `answer` than the proposed one, that is the right one.

    `seen`: how many reviews of the item the person knew of. Raises InputError for an answer that is none of
    the task, and where somebody else reviewed the item meanwhile.
    """
    if answer is None or answer.strip() == one.item["answer"].strip():
        return _add(config, one, seen, "accepted", actor)
    if why := refusal(config.task, answer):
        raise InputError(f"The answer {answer[:60]!r} {why}.", "Correct it, or drop the item.")
    data = answer.strip().encode()
    digest = hashlib.sha256(data).hexdigest()
    open_shared(config).write_bytes(f"{ANSWERS}/{digest}.txt", data)
    return _add(config, one, seen, "edited", actor, digest)


def drop(config: Config, one: Proposal, seen: int, actor: str) -> Review:
    """The item does not belong in the suite. Raises InputError as `accept` does."""
    return _add(config, one, seen, "dropped", actor)


def reopen(config: Config, one: Proposal, seen: int, actor: str) -> Review:
    """Take back the review that counts. Raises InputError as `accept` does, and where there is none."""
    return _add(config, one, seen, "reopened", actor)


def _add(config: Config, one: Proposal, seen: int, verdict: Verdict, actor: str, answer: str = "") -> Review:
    said = reviews(config).get(one.digest, [])
    if len(said) != seen:
        raise _reviewed_meanwhile(one.digest, said)
    if is_open(said) is (verdict == "reopened"):
        raise _out_of_turn(one.digest, said)
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    review = Review(one.digest, seen + 1, at, verdict, answer, actor)
    ledger = open_ledger(config)
    if not ledger.append(REVIEWS, vars(review))[0]:
        said = reviews(config)[one.digest]
        if said[seen] != review:  # else the server took it, and its answer was lost
            raise _reviewed_meanwhile(one.digest, said)
    return review


def _reviewed_meanwhile(item: str, said: Sequence[Review]) -> InputError:
    last = f"{said[-1].actor} {said[-1].verdict} it at {said[-1].at[:16]} UTC" if said else "nobody did yet"
    return InputError(
        f"The item {item[:12]} was reviewed meanwhile: {last}.", "Look at it again before you decide."
    )


def _out_of_turn(item: str, said: Sequence[Review]) -> InputError:
    last = standing(said)
    if last is None:
        return InputError(f"Nobody has reviewed the item {item[:12]}.", "There is nothing to take back.")
    return InputError(
        f"The item {item[:12]} is reviewed: {last.actor} {last.verdict} it at {last.at[:16]} UTC.",
        "Take that back first with `nightshift suite review reopen`.",
    )
