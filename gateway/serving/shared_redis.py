"""The Redis that all gateways share. While it is away nobody waits for it: each gateway goes on alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from gateway.metrics import Metrics
from pipelines.core.config import Config
from pipelines.stores.redis_server import login, redis_fault

T = TypeVar("T")
TIMEOUT_S = 0.1  # of one command: the longest that a request waits for a Redis that is gone
PATIENT_S = 2.0  # of a command that no request waits for
CHECK_EVERY_S = 1.0  # how soon a Redis that is back is used again
CONNECTIONS = 64
ALIVE = "nightshift:alive"  # what a check writes: a replica and a full Redis still answer a ping
log = logging.getLogger("nightshift.gateway")


class RedisAway(Exception):
    """Redis did not do as it was asked, or has not answered lately. The gateway decides by itself."""


class SharedRedis:
    """A Redis and whether it answers. One failure is enough to stop asking; `check` finds it again."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        settings = config.gateway
        self._url, self._metrics = settings.redis_url, metrics
        pool = BlockingConnectionPool.from_url(
            settings.redis_url,
            max_connections=CONNECTIONS,
            timeout=PATIENT_S,
            socket_timeout=PATIENT_S,
            socket_connect_timeout=PATIENT_S,
            retry=Retry(NoBackoff(), 0),
            **login(config.path(settings.redis_password_file), "gateway.redis_password_file"),
        )
        self.client = Redis.from_pool(pool)
        self.problem = ""  # why it is not asked, in words

    async def ask(self, command: Callable[[], Awaitable[T]], patience_s: float | None = None) -> T:
        """Run a command. Raises RedisAway after `TIMEOUT_S`, and at once while Redis is known to be away."""
        if self.problem:
            self._metrics.redis_failures.inc()
            raise RedisAway
        try:
            async with asyncio.timeout(patience_s or TIMEOUT_S):
                return await command()
        except (RedisError, OSError, TimeoutError) as error:
            self._metrics.redis_failures.inc()
            if not isinstance(error, ResponseError):  # it answers; whether it is of use, `check` finds out
                self._lose(error)
            raise RedisAway from error

    async def check(self) -> bool:
        """See whether Redis answers and takes writes; True where it was away before."""
        try:
            async with asyncio.timeout(PATIENT_S):
                await self.client.set(ALIVE, 1, ex=60)
        except (RedisError, OSError, TimeoutError) as error:
            self._lose(error)
            return False
        was_away, self.problem = bool(self.problem), ""
        if was_away:
            log.warning("Redis answers again")
        return was_away

    def _lose(self, error: RedisError | OSError) -> None:
        fault = redis_fault(error, self._url, "gateway.redis_url", "gateway.redis_password_file")
        if not self.problem:
            log.warning("%s Until it does, this gateway counts for itself and caches nothing.", fault)
        self.problem = f"{fault} This gateway counts for itself."

    async def close(self) -> None:
        await self.client.aclose()
