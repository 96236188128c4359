"""When several gateways may answer by a promotion, and what one may do that lost contact. Pure.

A move that gives an adapter more than before takes effect once every living gateway has loaded and warmed
what it needs. A move back takes effect at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class SeenGateway:
    """A gateway as the database last heard of it, `silent_s` seconds ago."""

    id: str
    url: str
    key_mark: str
    ready_for: int
    live: int
    problem: str
    silent_s: float
    version: str = ""  # see core.version
    spool: str = ""  # what the journal knows its spool by
    spool_rows: int = 0  # entries that had not arrived in the journal
    stopped: bool = False  # it ended by itself


def living(gateways: Sequence[SeenGateway], contact_s: float) -> list[SeenGateway]:
    """Those that were heard of within `contact_s`, and did not say that they stop."""
    return [one for one in gateways if one.silent_s <= contact_s and not one.stopped]


def not_ready(number: int, gateways: Sequence[SeenGateway], contact_s: float) -> list[SeenGateway]:
    """The living gateways that a promotion waits for."""
    return [one for one in living(gateways, contact_s) if number not in (one.ready_for, one.live)]


def waiting_words(number: int, gateways: Sequence[SeenGateway], contact_s: float) -> str:
    """Which gateways a promotion waits for, and why."""
    found = not_ready(number, gateways, contact_s)
    words = [f"{one.url or one.id} ({one.problem or 'it loads the adapters'})" for one in found]
    return f"promotion {number} waits for {', '.join(words)}" if words else ""


def problem_words(gateways: Sequence[SeenGateway], contact_s: float) -> str:
    """Which living gateways have a problem, and what it is."""
    found = [f"{one.url or one.id} ({one.problem})" for one in living(gateways, contact_s) if one.problem]
    return f"the rollout waits for {', '.join(found)}" if found else ""


def gone(gateways: Sequence[SeenGateway], contact_s: float) -> list[SeenGateway]:
    """Those that do not live. One that ended by itself with an empty spool is in no list."""
    alive = living(gateways, contact_s)
    return [one for one in gateways if one not in alive]


def left_behind(gateways: Sequence[SeenGateway], contact_s: float) -> list[SeenGateway]:
    """Those that do not live and had rows in their spool when they were last heard of."""
    return [one for one in gone(gateways, contact_s) if one.spool_rows]


def left_words(gateway: SeenGateway) -> str:
    """How long a gateway is gone, and what lies in its spool."""
    name = f"{gateway.url or 'a gateway'} ({gateway.id})"
    since = duration_words(gateway.silent_s)
    return f"{name} is gone for {since}, and {gateway.spool_rows:,} entries or more wait in its spool"


def duration_words(seconds: float) -> str:
    """A duration in its largest whole unit."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class Trust(StrEnum):
    """What a gateway may answer by. It knows of no newer promotion, and one may be in effect."""

    ALL = "all"
    PRODUCTION = "production"  # neither canary nor shadow
    NOTHING = "nothing"


@dataclass(frozen=True)
class PeerAnswer:
    """What another gateway says: whether it has contact with the database, and its promotion, -1 for none.

    `has_contact` None: it cannot be reached.
    """

    has_contact: bool | None
    promotion: int = -1


def trust(
    silent_s: float,
    contact_s: float,
    live: int,
    peers: Sequence[PeerAnswer],
    in_effect: int = -1,
    before: Trust = Trust.ALL,
) -> Trust:
    """What a gateway may answer by that last had contact with the database `silent_s` ago.

    `in_effect`: the promotion that the database named then. `before`: what it has answered by until now. One
    whose contact is back, and on which that promotion is not live yet, goes on as `before`.

    A peer with contact decides: it knows which promotion is in effect. Without one, nobody can move traffic,
    unless a peer that cannot be reached still has contact.
    """
    if silent_s <= contact_s:
        return before if live < in_effect else Trust.ALL
    known = [peer.promotion for peer in peers if peer.has_contact and peer.promotion >= 0]
    if known:
        return Trust.ALL if max(known) == live else Trust.NOTHING
    nobody_has = all(peer.has_contact is False for peer in peers)
    return Trust.ALL if nobody_has else Trust.PRODUCTION
