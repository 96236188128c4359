"""What tenants use, counted in Redis for all gateways together. Each script runs whole or not at all."""

from __future__ import annotations

import secrets
import time
from typing import cast

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.serving.shared_redis import PATIENT_S, SharedRedis

# KEYS[1]: a tenant's day, a hash of gateway -> the tokens that it has counted, and of reservation ->
# "tokens end_s". Each gateway writes its whole count: it may say it twice, or again to a Redis that lost it.
# Redis's own clock ends reservations. The hash outlives its day, for answers that end after midnight.
OTHERS = """
local others, reserved, now = 0, 0, tonumber(redis.call('TIME')[1])
local counted = math.max(tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0), tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], ARGV[1], counted)
redis.call('EXPIRE', KEYS[1], 172800)
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found, 2 do
  local held, ends = string.match(found[i + 1], '^(%d+) (%d+)$')
  if held and tonumber(ends) <= now then redis.call('HDEL', KEYS[1], found[i])
  elseif held then reserved = reserved + tonumber(held)
  elseif found[i] ~= ARGV[1] then others = others + tonumber(found[i + 1]) end
end
"""
RESERVE = f"""
{OTHERS}
if counted + others + reserved < tonumber(ARGV[5]) then
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[4] .. ' ' .. (now + tonumber(ARGV[6])))
end
return {{others, reserved}}
"""
SETTLE = f"""
redis.call('HDEL', KEYS[1], ARGV[3])
{OTHERS}
return others
"""


class SharedCounts:
    """Every method raises RedisAway where Redis does not answer."""

    def __init__(self, redis: SharedRedis, life_s: int) -> None:
        self._redis, self._life_s = redis, life_s
        self._gateway = secrets.token_hex(8)  # the name of this process's count
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="nightshift:rate",
            connection_pool=redis.client.connection_pool,  # type: ignore[arg-type]
        )
        self._rate = SlidingWindowCounterRateLimiter(storage)
        self._reserve = redis.client.register_script(RESERVE)
        self._settle = redis.client.register_script(SETTLE)

    async def wait_s(self, limit: RateLimitItem, tenant: str) -> float:
        """See `wait_s` below."""
        return await self._redis.ask(lambda: wait_s(self._rate, limit, tenant))

    async def reserve(self, day: str, own: int, most: int, name: str, tokens: int) -> tuple[int, int]:
        """Set tokens aside under a name, if there is room.

        `own` are the tokens that this gateway has counted. Returns those that the others have, and those set
        aside before. A reservation that nobody settles, because its gateway died, ends after `life_s`.
        """
        values: list[str | int] = [self._gateway, own, name, tokens, most, self._life_s]
        found = await self._redis.ask(lambda: self._reserve(keys=[_key(day)], args=values))
        return cast(tuple[int, int], tuple(found))

    async def settle(self, day: str, own: int, name: str = "") -> int:
        """End a reservation, and say what this gateway has counted; what the others have."""
        values: list[str | int] = [self._gateway, own, name]
        return int(await self._redis.ask(lambda: self._settle(keys=[_key(day)], args=values), PATIENT_S))


async def wait_s(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, tenant: str) -> float:
    """Count a request: 0 if the tenant may send it, else the seconds until it may send one."""
    if await limiter.hit(limit, tenant):
        return 0.0
    reset_at, _ = await limiter.get_window_stats(limit, tenant)
    return max(0.001, reset_at - time.time())


def _key(day: str) -> str:
    return f"nightshift:tokens:{day}"
