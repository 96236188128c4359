"""A suite of which a part is renewed: what people said is applied, and old items make room for new. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.core.conversations import conversation_key

Item = Mapping[str, Any]
SINCE = "suite_since"  # of an item: the day on which a renewal brought it into the suite


@dataclass(frozen=True)
class Reviewed:
    """A proposed item after its review. `item` has the answer that holds; None: it was dropped.

    `answers`: those that it was ever given, by which the suite may hold it.
    """

    key: str
    item: Item | None
    answers: frozenset[str]


@dataclass(frozen=True)
class Renewed:
    """The suite's new items, and how it came to them. `conflicts`: the file was changed by hand since."""

    items: tuple[Item, ...]
    joined: tuple[Item, ...] = ()
    retired: tuple[Item, ...] = ()
    dropped: int = 0
    edited: int = 0
    marked: int = 0  # as reviewed, that were not
    conflicts: int = 0
    waiting: int = 0  # reviewed items for which there is no room yet


def apply_reviews(suite: Sequence[Item], reviewed: Mapping[str, Reviewed]) -> Renewed:
    """Reviews of items that the suite holds. One whose answer was changed in the file stays as it is."""
    items: list[Item] = []
    dropped = edited = marked = conflicts = 0
    for item in suite:
        review = reviewed.get(conversation_key(item["messages"]))
        if review and item["answer"] not in review.answers:
            conflicts, review = conflicts + 1, None
        if review is None:
            items.append(item)
        elif review.item is None:
            dropped += 1
        else:
            edited += review.item["answer"] != item["answer"]
            marked += item.get("reviewed") is not True
            items.append({**item, "answer": review.item["answer"], "reviewed": True})
    return Renewed(tuple(items), dropped=dropped, edited=edited, marked=marked, conflicts=conflicts)


def renew(applied: Renewed, newcomers: Sequence[Item], share: float, size: int, seed: int) -> Renewed:
    """Newcomers first fill the suite up to `size`; then they replace at most `share` of that.

    Those items leave that are longest in the suite: nights asked them most often, so most is known of them.
    Of those that came on one day, a hash with the seed decides.
    """
    room = max(0, size - len(applied.items))
    most = min(round(share * size), len(applied.items))
    replaced = min(most, max(0, len(newcomers) - room))
    joined = tuple(newcomers[: room + replaced])
    leaving = sorted(applied.items, key=lambda item: _age(item, seed))[:replaced]
    gone = {conversation_key(item["messages"]) for item in leaving}
    stay = (item for item in applied.items if conversation_key(item["messages"]) not in gone)
    return replace(
        applied,
        items=(*stay, *joined),
        joined=joined,
        retired=tuple(leaving),
        waiting=len(newcomers) - len(joined),
    )


def _age(item: Item, seed: int) -> tuple[str, str]:
    text = f"{seed} {conversation_key(item['messages'])}"
    return str(item.get(SINCE) or ""), hashlib.sha256(text.encode()).hexdigest()


def new_and_changed(tonight: Mapping[str, str], then: Mapping[str, str]) -> tuple[int, int]:
    """How many questions are new since then, and how many old ones have another answer."""
    changed = sum(key in then and then[key] != answer for key, answer in tonight.items())
    return len(tonight.keys() - then.keys()), changed


def shares_a_question(tonight: Mapping[str, str], then: Mapping[str, str]) -> bool:
    return not tonight.keys().isdisjoint(then)
