"""Which feedback is new, which was tried, and which reached production. Pure.

| state   | what it means for a row                                                                     |
|---------|---------------------------------------------------------------------------------------------|
| pending | no training ran on it                                                                       |
| tried   | a training ran on it; its adapter is not in production: rejected, waiting, or rolled back   |
| learned | an adapter that was trained on it, or on a parent that was, reached production and stayed   |

A row has the state of the night that delivered it, so the state of a million rows is that of a few hundred
nights. A night that is delivered again with other rows is another delivery, and pending. A row that a later
night delivers again, with other feedback, belongs to the later night.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

ROLLBACK = "rollback"  # the move that takes an adapter out of production for a fault


@dataclass(frozen=True)
class Training:
    """A recorded training. Adapters are known by their digests.

    `deliveries`: the nights that it drew from, each with the digest of its delivery. Older records have
    none: such a training drew from all deliveries since the training before it. `parent`: the adapter that
    it was continued from.
    """

    night: date
    adapter: str
    parent: str | None = None
    deliveries: Mapping[date, str] | None = None


@dataclass(frozen=True)
class RowStates:
    """The delivering nights of each state, sorted; every delivery is in exactly one."""

    pending: tuple[date, ...]
    tried: tuple[date, ...]
    learned: tuple[date, ...]

    @property
    def unlearned(self) -> tuple[date, ...]:
        """What a training may learn from: tried rows count again together with new ones."""
        return tuple(sorted((*self.pending, *self.tried)))


def row_states(
    delivered: Mapping[date, str], trainings: Sequence[Training], stayed: Iterable[str]
) -> RowStates:
    """The state of each delivery (night -> digest). `stayed`: see `stayed_in_production`."""
    learned_by = _with_parents(trainings, stayed)
    tried, learned = set[date](), set[date]()
    for training in trainings:
        found = _drawn_from(training, trainings, delivered)
        (learned if training.adapter in learned_by else tried).update(found)
    return RowStates(
        pending=tuple(sorted(set(delivered) - tried - learned)),
        tried=tuple(sorted(tried - learned)),
        learned=tuple(sorted(learned)),
    )


def stayed_in_production(moves: Iterable[tuple[str, str | None]]) -> set[str]:
    """The adapters that reached production and were not rolled back, from all moves, oldest first.

    A move is its name and the digest of what is in production after it; None is the bare base model. An
    adapter that a newer one replaced has stayed. One that is promoted again after a rollback stays again.
    """
    stayed, before = set[str](), None
    for name, after in moves:
        if after != before:
            if name == ROLLBACK and before is not None:
                stayed.discard(before)
            if after is not None:
                stayed.add(after)
        before = after
    return stayed


def _with_parents(trainings: Sequence[Training], stayed: Iterable[str]) -> set[str]:
    """These adapters and all that they were continued from."""
    parents = {training.adapter: training.parent for training in trainings}
    found = set[str]()
    for adapter in stayed:
        link: str | None = adapter
        while link is not None and link not in found:
            found.add(link)
            link = parents.get(link)
    return found


def _drawn_from(
    training: Training, trainings: Sequence[Training], delivered: Mapping[date, str]
) -> set[date]:
    """The deliveries, as they are now, that a training drew from."""
    if training.deliveries is not None:
        return {night for night, digest in training.deliveries.items() if delivered.get(night) == digest}
    before = max((other.night for other in trainings if other.night < training.night), default=date.min)
    return {night for night in delivered if before < night <= training.night}
