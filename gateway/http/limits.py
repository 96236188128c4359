"""What a tenant may use: requests a minute, tokens a day."""

from __future__ import annotations

import time

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from gateway.errors import Refusal, later
from pipelines.core.config import Gateway, TenantLimits


class Quotas:
    """Counted in this process."""

    def __init__(self, settings: Gateway) -> None:
        self._settings = settings
        storage = MemoryStorage()
        self._rate = SlidingWindowCounterRateLimiter(storage)
        self._day = FixedWindowRateLimiter(storage)

    async def knock(self, tenant: str) -> None:
        """Count a request. Raises Refusal (429) when the tenant has used up its minute."""
        minute = RateLimitItemPerMinute(self._of(tenant).requests_per_minute)
        if not await self._rate.hit(minute, tenant):
            raise await _too_many("rate_limit_exceeded", self._rate, minute, tenant)

    async def enter(self, tenant: str) -> None:
        """Count a request for an answer. Raises Refusal (429), also when the day's tokens are used up."""
        await self.knock(tenant)
        day = RateLimitItemPerDay(self._of(tenant).tokens_per_day)
        if not await self._day.test(day, tenant):
            raise await _too_many("quota_exceeded", self._day, day, tenant)

    async def spend(self, tenant: str, tokens: int) -> None:
        """Count the tokens of an answer; the last one may go beyond the day's quota."""
        await self._day.hit(RateLimitItemPerDay(self._of(tenant).tokens_per_day), tenant, cost=tokens)

    def _of(self, tenant: str) -> TenantLimits:
        return self._settings.tenants.get(tenant, self._settings.limits)


async def _too_many(code: str, limiter: RateLimiter, item: RateLimitItem, tenant: str) -> Refusal:
    reset_at, _ = await limiter.get_window_stats(item, tenant)
    return later(429, code, f"the limit of this tenant is {item}", reset_at - time.time())
