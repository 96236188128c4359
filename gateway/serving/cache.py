"""Caches answers to deterministic requests, in memory or in Redis. While Redis is away, nothing is cached.

The key holds the adapter's digest and the tenant: a new adapter is asked again, and no tenant gets another
one's answer. It also holds the digest of the code that answers: gateways of two versions share no answers.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from cachetools import TTLCache
from pydantic import TypeAdapter, ValidationError

from gateway.engines.base import CompletionRequest, Piece
from gateway.serving.shared_redis import RedisAway, SharedRedis
from pipelines.core.config import Gateway
from pipelines.core.contract import canonical_json, digest_of
from pipelines.core.files import sha256_of

log = logging.getLogger("nightshift.gateway")
_Stored = TypeAdapter(Piece)
ROOT = Path(__file__).parents[2]
ANSWERING = ("gateway", "pipelines/models")  # the code that makes an answer of a request


class Cache(Protocol):
    """What both caches offer. `key` comes from `cache_key`."""

    async def get(self, key: str) -> Piece | None: ...

    async def put(self, key: str, answer: Piece) -> None: ...


def make_cache(settings: Gateway, redis: SharedRedis | None) -> Cache:
    """Redis where gateways share one, else this process's memory."""
    return RedisCache(redis, settings.cache_ttl_s) if redis else MemoryCache(settings)


@functools.cache
def code_digest() -> str:
    """sha256 over the code that makes an answer of a request."""
    files = sorted(file for folder in ANSWERING for file in (ROOT / folder).rglob("*.py"))
    return digest_of({file.relative_to(ROOT).as_posix(): sha256_of(file) for file in files})


def cache_key(base: str, digest: str, tenant: str, request: CompletionRequest) -> str | None:
    """The key of a request's answer; None if the answer is sampled, and so must not be cached."""
    if request.temperature and not request.choices:
        return None
    parts = {**asdict(request), "base": base, "digest": digest, "tenant": tenant, "code": code_digest()}
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


def _piece(found: bytes | str) -> Piece | None:
    """The answer that Redis holds; None for anything that is not exactly one."""
    try:
        return _Stored.validate_json(found, strict=True, extra="forbid")
    except ValidationError:
        log.warning("the cache held something that is no answer")
        return None


class RedisCache:
    """Shared by several gateways."""

    def __init__(self, redis: SharedRedis, ttl_s: int) -> None:
        self._redis, self._ttl_s = redis, ttl_s

    async def get(self, key: str) -> Piece | None:
        try:
            found = await self._redis.ask(lambda: self._redis.client.get(_name(key)))
        except RedisAway:
            return None
        return _piece(found) if found else None

    async def put(self, key: str, answer: Piece) -> None:
        text = _Stored.dump_json(answer)
        try:
            await self._redis.ask(lambda: self._redis.client.set(_name(key), text, ex=self._ttl_s))
        except RedisAway:
            return


def _name(key: str) -> str:
    return f"nightshift:answer:{key}"
