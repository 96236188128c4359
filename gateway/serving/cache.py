"""Caches answers to deterministic requests, in memory or in Redis. While Redis is gone, nothing is cached.

The key holds the adapter's digest and the tenant: a new adapter is asked again, and no tenant gets another
one's answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from dataclasses import asdict
from typing import Protocol

from cachetools import TTLCache
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.engines.base import CompletionRequest, Piece
from pipelines.core.config import Gateway
from pipelines.core.contract import canonical_json

log = logging.getLogger("nightshift.gateway")
_Stored = TypeAdapter(Piece)
REDIS_TIMEOUT_S = 0.1  # waiting longer would slow answers down more than the cache speeds them up


class Cache(Protocol):
    """What both caches offer. `key` comes from `cache_key`."""

    async def get(self, key: str) -> Piece | None: ...

    async def put(self, key: str, answer: Piece) -> None: ...

    async def close(self) -> None: ...


def make_cache(settings: Gateway) -> Cache:
    """Redis if `gateway.redis_url` is set, else this process's memory."""
    return RedisCache(settings) if settings.redis_url else MemoryCache(settings)


def cache_key(base: str, digest: str, tenant: str, request: CompletionRequest) -> str | None:
    """The key of a request's answer; None if the answer is sampled, and so must not be cached."""
    if request.temperature and not request.choices:
        return None
    parts = {**asdict(request), "base": base, "digest": digest, "tenant": tenant}
    return hashlib.sha256(canonical_json(parts)).hexdigest()


class MemoryCache:
    """The most recent answers, at most `gateway.cache_entries`."""

    def __init__(self, settings: Gateway) -> None:
        self._answers: TTLCache[str, Piece] = TTLCache(settings.cache_entries, settings.cache_ttl_s)

    async def get(self, key: str) -> Piece | None:
        return self._answers.get(key)

    async def put(self, key: str, answer: Piece) -> None:
        if self._answers.maxsize:
            self._answers[key] = answer

    async def close(self) -> None:
        """Nothing to close."""


def _piece(found: bytes | str) -> Piece | None:
    """The answer that Redis holds; None for anything that is not exactly one."""
    try:
        return _Stored.validate_json(found, strict=True, extra="forbid")
    except ValidationError:
        log.warning("the cache held something that is no answer")
        return None


class RedisCache:
    """Shared by several gateways. A circuit breaker keeps requests from waiting for a Redis that is gone."""

    def __init__(self, settings: Gateway) -> None:
        self._redis = Redis.from_url(
            settings.redis_url,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._ttl_s = settings.cache_ttl_s
        self._breakers = AsyncCircuitBreakerFactory(
            settings.breaker_failures, settings.breaker_reset_s, exclude=[asyncio.CancelledError]
        )

    async def get(self, key: str) -> Piece | None:
        try:
            async with await self._breakers.get_breaker("redis"):
                found = await self._redis.get(f"nightshift:answer:{key}")
        except (RedisError, OSError, TimeoutError, OpenedState):
            return None
        return _piece(found) if found else None

    async def put(self, key: str, answer: Piece) -> None:
        try:
            async with await self._breakers.get_breaker("redis"):
                await self._redis.set(f"nightshift:answer:{key}", json.dumps(asdict(answer)), ex=self._ttl_s)
        except (RedisError, OSError, TimeoutError, OpenedState):
            return

    async def close(self) -> None:
        await self._redis.aclose()
