"""The places of one adapter, which tenants take in turns, so that nobody's flood shuts the others out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


class QueueFull(Exception):
    """There is no room. Try again after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the queue is full")
        self.retry_after_s = retry_after_s


@dataclass(eq=False)
class _Waiter:
    tenant: str
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Room:
    """At most `places` answers under way, and `queue` requests that wait.

    A free place goes to the tenant with the fewest answers under way. Where the queue is full, the newest
    request of the tenant that holds most gives way to one of a tenant that holds less.
    """

    def __init__(self, places: int, queue: int) -> None:
        self._places, self._queue = places, queue
        self._running: Counter[str] = Counter()
        self._waiting: list[_Waiter] = []  # the oldest first

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._asking())

    def _asking(self) -> list[_Waiter]:
        """Those that wait, without those that are just leaving."""
        return [waiter for waiter in self._waiting if not waiter.turn.done()]

    @property
    def is_full(self) -> bool:
        """Whether a new request would have to wait."""
        return bool(self.waiting) or self._running.total() >= self._places

    def ahead(self, tenant: str) -> int:
        """How many of those that wait get a place before a new request of this tenant."""
        waiting = Counter(waiter.tenant for waiter in self._asking())
        level = self._running[tenant] + waiting.pop(tenant, 0) + 1
        others = (min(count, max(0, level - self._running[other])) for other, count in waiting.items())
        return level - 1 - self._running[tenant] + sum(others)

    @asynccontextmanager
    async def place(self, tenant: str, deadline: float, mean_s: float | None) -> AsyncIterator[None]:
        """Hold a place, for which to wait until `deadline` (event loop time).

        Raises QueueFull. `mean_s`: how long an answer takes, if that is known.
        """
        if self.is_full:
            wait_s = (mean_s or 0.0) * (self.ahead(tenant) + 1) / self._places
            if wait_s > deadline - asyncio.get_running_loop().time():
                raise QueueFull(wait_s)
            await self._wait(tenant, deadline, wait_s, mean_s or 1.0)
        else:
            self._running[tenant] += 1
        try:
            yield
        finally:
            self._leave(tenant)

    async def _wait(self, tenant: str, deadline: float, wait_s: float, mean_s: float) -> None:
        if self.waiting >= self._queue:
            self._make_room(tenant, wait_s)
        waiter = _Waiter(tenant)
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                await waiter.turn
        except BaseException as error:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.turn.exception():
                self._leave(tenant)  # it got its place at the very moment that it left
            if isinstance(error, TimeoutError):
                raise QueueFull(mean_s) from None
            raise

    def _make_room(self, tenant: str, wait_s: float) -> None:
        held = self._running + Counter(waiter.tenant for waiter in self._asking())
        newest = max(reversed(self._asking()), key=lambda waiter: held[waiter.tenant], default=None)
        if newest is None or held[newest.tenant] <= held[tenant] + 1:
            raise QueueFull(wait_s)
        self._waiting.remove(newest)
        newest.turn.set_exception(QueueFull(wait_s))

    def _leave(self, tenant: str) -> None:
        self._running[tenant] -= 1
        self._running += Counter()  # without those that have none
        asking = self._asking()
        if asking and self._running.total() < self._places:
            next_ = min(asking, key=lambda waiter: self._running[waiter.tenant])
            self._waiting.remove(next_)
            self._running[next_.tenant] += 1
            next_.turn.set_result(None)
