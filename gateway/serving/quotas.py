"""Quotas of a tenant: requests per minute and tokens per day (UTC).

They are counted in Redis where all gateways share one, else in this process. A gateway remembers what it has
counted, and what the others had. While Redis is away it goes on from there.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.errors import retry_later
from gateway.serving.shared_counts import SharedCounts, wait_s
from gateway.serving.shared_redis import RedisAway, SharedRedis
from pipelines.core.config import Gateway, TenantLimits

DAY_S = 86_400
UNDER_WAY_S = 1.0  # a client tries again this soon if only answers under way fill the day


@dataclass(eq=False)
class DayUse:
    """One tenant's tokens of one day, as far as this gateway knows."""

    name: str = ""  # day and tenant
    own: int = 0  # used here
    others: int = 0  # used at the other gateways, as last read
    reserved: int = 0  # set aside for answers under way here

    @property
    def used(self) -> int:
        return self.own + self.others


class Reservation:
    """Tokens that are set aside for an answer. They count until `settle` says how many were used."""

    def __init__(self, day: DayUse, tokens: int, settled: Callable[[], None]) -> None:
        self._day, self._tokens, self._settled, self._open = day, tokens, settled, True
        day.reserved += tokens

    def settle(self, tokens: int) -> None:
        """Count the tokens that were used instead. Only the first call counts.

        The tokens belong to the day of the admission, even if that day is over.
        """
        if self._open:
            self._open = False
            self._day.reserved -= self._tokens
            self._day.own += tokens
            self._settled()


class Quotas:
    """Counts what each tenant uses, and refuses what goes beyond its limits."""

    def __init__(self, settings: Gateway, redis: SharedRedis | None = None) -> None:
        self._settings = settings
        self._rate = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._day = 0
        self._uses: dict[str, DayUse] = {}
        # No answer takes longer, so what is still set aside after that belongs to a gateway that died.
        life_s = math.ceil(settings.timeout_s + settings.client_timeout_s)
        self._shared = SharedCounts(redis, life_s) if redis else None
        self._unsaid: set[DayUse] = set()  # days with tokens that Redis may not know of
        self._saying: set[asyncio.Task[None]] = set()

    async def check_rate(self, tenant: str) -> None:
        """Count a request. Raises Refusal (429) if the tenant has none left in this minute."""
        most = self._limits(tenant).requests_per_minute
        minute = RateLimitItemPerMinute(most)
        try:
            seconds = await (self._shared or self).wait_s(minute, tenant)
        except RedisAway:
            seconds = await self.wait_s(minute, tenant)
        if seconds:
            message = f"this tenant may send {most} requests per minute"
            raise retry_later(429, "rate_limit_exceeded", message, seconds)

    async def wait_s(self, minute: RateLimitItemPerMinute, tenant: str) -> float:
        """The same as `SharedCounts.wait_s`, of this gateway alone."""
        return await wait_s(self._rate, minute, tenant)

    async def reserve(self, tenant: str, tokens: int) -> Reservation:
        """Set tokens aside for an answer: its prompt and the most that it may generate.

        The day's last answer may go beyond the quota. Raises Refusal (429) if the day's tokens are used up or
        set aside.
        """
        day, most = self._use(tenant), self._limits(tenant).tokens_per_day
        name = secrets.token_hex(8)
        reserved = await self._reserved(day, most, name, tokens)
        _check(most, day.used, reserved)
        return Reservation(day, tokens, lambda: self._settled(day, name))

    async def _reserved(self, day: DayUse, most: int, name: str, tokens: int) -> int:
        """The tokens that were set aside before; by all gateways, where Redis counts."""
        if self._shared:
            with suppress(RedisAway):
                others, reserved = await self._shared.reserve(day.name, day.own, most, name, tokens)
                day.others = max(day.others, others)  # it only grows, so the larger is the newer
                return reserved
        return day.reserved

    def _settled(self, day: DayUse, name: str) -> None:
        if self._shared:
            self._unsaid.add(day)
            task = asyncio.create_task(self._say(day, name))  # the answer need not wait for it
            self._saying.add(task)
            task.add_done_callback(self._saying.discard)

    async def _say(self, day: DayUse, name: str = "") -> None:
        """Tell Redis what was used here on a day, in place of a reservation."""
        assert self._shared
        own = day.own
        with suppress(RedisAway):
            day.others = max(day.others, await self._shared.settle(day.name, own, name))
            if day.own == own:
                self._unsaid.discard(day)

    async def say_all(self, today: bool = False) -> None:
        """Tell Redis of what it was not there to count; of all of today, where it may have lost its data."""
        for day in [*self._unsaid, *(self._uses.values() if today else ())]:
            await self._say(day)

    async def close(self) -> None:
        """Wait until Redis knows what was used here, if it answers."""
        await asyncio.gather(*self._saying)
        await self.say_all()

    def _use(self, tenant: str) -> DayUse:
        """The tenant's count of today. A new day forgets the old one; reservations keep their own."""
        today = int(time.time()) // DAY_S
        if today != self._day:
            self._day, self._uses = today, {}
        return self._uses.setdefault(tenant, DayUse(f"{today}:{tenant}"))

    def _limits(self, tenant: str) -> TenantLimits:
        return self._settings.tenants.get(tenant, self._settings.limits)


def _check(most: int, used: int, reserved: int) -> None:
    """Raises Refusal (429) if a day of `most` tokens is full."""
    if used >= most:
        message = f"this tenant may use {most} tokens per day, and has used {used}"
        raise retry_later(429, "quota_exceeded", message, DAY_S - time.time() % DAY_S)
    if used + reserved >= most:
        message = f"this tenant may use {most} tokens per day, and answers under way may use the rest"
        raise retry_later(429, "quota_exceeded", message, UNDER_WAY_S)


def estimate_tokens(prompt_bytes: int, answer_tokens: int) -> int:
    """What to reserve for an answer: a token of the prompt has about three bytes."""
    return -(-prompt_bytes // 3) + answer_tokens
