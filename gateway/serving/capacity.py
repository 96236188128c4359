"""Which requests can be answered in time, and whose turn it is where not all can.

It compares what the engine was seen to do with what is asked of it.

Counts pieces, which are tokens or a few of them. All adapters share the engine, so one object counts for all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from gateway.engines.base import CompletionRequest

PACE = 0.1  # of the moving averages
TURN_S = 2.0  # a turn is kept for so long after the time at which to try again


@dataclass(eq=False)
class Work:
    """An answer under way. Times are event loop times in seconds."""

    tenant: str
    expected: float  # pieces
    deadline: float
    began: float
    pieces: int = 0
    newest: float = 0.0

    @property
    def left(self) -> float:
        return max(0.0, self.expected - self.pieces)

    def is_made_late(self, now: float, today: float, then: float, pieces: float) -> bool:
        """Whether another answer of so many pieces makes this one late, which it was not before.

        A piece takes `today` seconds, and `then` as long as both are under way.
        """
        left_s, own_s = self.deadline - now, self.left * today
        return own_s <= left_s < own_s + min(self.left, pieces) * (then - today)


class Capacity:
    """Watches answers under way, and says whether one more fits."""

    def __init__(self) -> None:
        self.pieces = 0  # of all answers so far
        self._running: set[Work] = set()
        self._piece_s: dict[int, float] = {}  # seconds from piece to piece, by number of answers under way
        self._first_s = 0.0  # seconds to the first piece
        # Pieces of an answer beside the most that was allowed, of each tenant: they ask for different ones.
        self._shares: defaultdict[str, float] = defaultdict(lambda: 1.0)
        self._turns: dict[str, float] = {}  # tenants that were refused, and until when they are next

    def excess_s(self, request: CompletionRequest, tenant: str, deadline: float, now: float) -> float:
        """0 if the request fits; else after how many seconds to try again. An idle engine takes any request.

        It fits if its own answer and those under way all end in time. Those late anyway do not count. A
        tenant that is refused is next: until it tries again, nobody gets in who has more under way than it.
        """
        excess_s = self._excess_s(request, tenant, deadline, now)
        if not excess_s and self._is_others_turn(tenant, now):
            return 1.0
        self._turns = {name: until for name, until in self._turns.items() if until > now and name != tenant}
        if excess_s:
            self._turns[tenant] = now + excess_s + TURN_S
        return excess_s

    def _is_others_turn(self, tenant: str, now: float) -> bool:
        held = Counter(work.tenant for work in self._running)
        return any(until > now and held[name] < held[tenant] for name, until in self._turns.items())

    def _excess_s(self, request: CompletionRequest, tenant: str, deadline: float, now: float) -> float:
        if not self._running:
            return 0.0
        today, then = self._seconds(len(self._running)), self._seconds(len(self._running) + 1)
        expected = self._expected(request, tenant)
        own_s = self._first_s + expected * then
        made_late = any(work.is_made_late(now, today, then, expected) for work in self._running)
        if now + own_s <= deadline and not made_late:
            return 0.0
        return max(1.0, min(work.left for work in self._running) * today)

    def begin(self, request: CompletionRequest, tenant: str, deadline: float, now: float) -> Work:
        """An answer for a tenant begins."""
        work = Work(tenant, self._expected(request, tenant), deadline, now)
        self._running.add(work)
        return work

    def note(self, work: Work, now: float) -> None:
        """A piece came."""
        if work.pieces:
            number, took = len(self._running), now - work.newest
            self._piece_s[number] = _moved(self._piece_s.get(number, took), took)
        else:
            self._first_s = _moved(self._first_s or now - work.began, now - work.began)
        work.pieces, work.newest = work.pieces + 1, now
        self.pieces += 1

    def end(self, work: Work, request: CompletionRequest, is_whole: bool) -> None:
        """An answer ended, or was left."""
        self._running.discard(work)
        if is_whole and request.choices is None:
            share = min(1.0, work.pieces / max(1, request.max_tokens))
            self._shares[work.tenant] = _moved(self._shares[work.tenant], share)

    def _expected(self, request: CompletionRequest, tenant: str) -> float:
        """A choice comes as one piece."""
        return 1.0 if request.choices is not None else request.max_tokens * self._shares[tenant]

    def _seconds(self, number: int) -> float:
        """From piece to piece with so many answers under way. Unknown numbers are bounded by known ones.

        More answers never make one faster, and n times as many make it at most n times slower.
        """
        bounds = (seconds * max(1.0, number / known) for known, seconds in self._piece_s.items() if seconds)
        return min(bounds, default=0.0)


def _moved(average: float, value: float) -> float:
    return average + PACE * (value - average)
