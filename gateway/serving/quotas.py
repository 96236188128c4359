"""Quotas of a tenant: requests per minute and tokens per day (UTC). Counted in this process."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.errors import retry_later
from pipelines.core.config import Gateway, TenantLimits

DAY_S = 86_400
UNDER_WAY_S = 1.0  # a client tries again this soon if only answers under way fill the day


@dataclass
class DayUse:
    """One tenant's tokens of one day: those used, and those set aside for answers under way."""

    used: int = 0
    reserved: int = 0


class Reservation:
    """Tokens that are set aside for an answer. They count until `settle` says how many were used."""

    def __init__(self, day: DayUse, tokens: int) -> None:
        self._day, self._tokens, self._open = day, tokens, True
        day.reserved += tokens

    def settle(self, tokens: int) -> None:
        """Count the tokens that were used instead. Only the first call counts.

        The tokens belong to the day of the admission, even if that day is over.
        """
        if self._open:
            self._open = False
            self._day.reserved -= self._tokens
            self._day.used += tokens


class Quotas:
    """Counts what each tenant uses, and refuses what goes beyond its limits."""

    def __init__(self, settings: Gateway) -> None:
        self._settings = settings
        self._rate = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._day = 0
        self._uses: defaultdict[str, DayUse] = defaultdict(DayUse)

    async def check_rate(self, tenant: str) -> None:
        """Count a request. Raises Refusal (429) if the tenant has none left in this minute."""
        most = self._limits(tenant).requests_per_minute
        minute = RateLimitItemPerMinute(most)
        if not await self._rate.hit(minute, tenant):
            reset_at, _ = await self._rate.get_window_stats(minute, tenant)
            message = f"this tenant may send {most} requests per minute"
            raise retry_later(429, "rate_limit_exceeded", message, reset_at - time.time())

    def reserve(self, tenant: str, tokens: int) -> Reservation:
        """Set tokens aside for an answer: its prompt and the most that it may generate.

        The day's last answer may go beyond the quota. Raises Refusal (429) if the day's tokens are used up or
        set aside.
        """
        day, most = self._use(tenant), self._limits(tenant).tokens_per_day
        if day.used >= most:
            message = f"this tenant may use {most} tokens per day, and has used {day.used}"
            raise retry_later(429, "quota_exceeded", message, DAY_S - time.time() % DAY_S)
        if day.used + day.reserved >= most:
            message = f"this tenant may use {most} tokens per day, and answers under way may use the rest"
            raise retry_later(429, "quota_exceeded", message, UNDER_WAY_S)
        return Reservation(day, tokens)

    def _use(self, tenant: str) -> DayUse:
        """The tenant's count of today. A new day forgets the old one; reservations keep their own."""
        today = int(time.time()) // DAY_S
        if today != self._day:
            self._day, self._uses = today, defaultdict(DayUse)
        return self._uses[tenant]

    def _limits(self, tenant: str) -> TenantLimits:
        return self._settings.tenants.get(tenant, self._settings.limits)


def estimate_tokens(prompt_bytes: int, answer_tokens: int) -> int:
    """What to reserve for an answer: a token of the prompt has about three bytes."""
    return -(-prompt_bytes // 3) + answer_tokens
