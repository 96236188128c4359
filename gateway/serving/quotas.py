"""Quotas of a tenant: requests per minute and tokens per day. Counted in this process."""

from __future__ import annotations

import time

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from gateway.errors import Refusal, retry_later
from pipelines.core.config import Gateway, TenantLimits


class Quotas:
    """Counts what each tenant uses, and refuses what goes beyond its limits."""

    def __init__(self, settings: Gateway) -> None:
        self._settings = settings
        storage = MemoryStorage()
        self._rate = SlidingWindowCounterRateLimiter(storage)
        self._day = FixedWindowRateLimiter(storage)

    async def check_rate(self, tenant: str) -> None:
        """Count a request. Raises Refusal (429) if the tenant has none left in this minute."""
        minute = RateLimitItemPerMinute(self._limits(tenant).requests_per_minute)
        if not await self._rate.hit(minute, tenant):
            raise await _too_many("rate_limit_exceeded", self._rate, minute, tenant)

    async def admit(self, tenant: str) -> None:
        """Count a request for an answer. Raises Refusal (429) also if the day's tokens are used up."""
        await self.check_rate(tenant)
        day = RateLimitItemPerDay(self._limits(tenant).tokens_per_day)
        if not await self._day.test(day, tenant):
            raise await _too_many("quota_exceeded", self._day, day, tenant)

    async def charge(self, tenant: str, tokens: int) -> None:
        """Count the tokens of an answer. The day's last answer may go beyond the quota."""
        await self._day.hit(RateLimitItemPerDay(self._limits(tenant).tokens_per_day), tenant, cost=tokens)

    def _limits(self, tenant: str) -> TenantLimits:
        return self._settings.tenants.get(tenant, self._settings.limits)


async def _too_many(code: str, limiter: RateLimiter, item: RateLimitItem, tenant: str) -> Refusal:
    reset_at, _ = await limiter.get_window_stats(item, tenant)
    return retry_later(429, code, f"the limit of this tenant is {item}", reset_at - time.time())
