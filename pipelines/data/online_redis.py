"""Feast's online store in a Redis that is named by URL, with its password in a file.

Feast itself takes the password as a part of its configuration, which it also logs. Redis Cluster and Sentinel
are not supported.
"""

from __future__ import annotations

from typing import Any, Literal

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from pydantic import StrictStr
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from pipelines.stores.redis_server import login

TIMEOUT_S = 3.0  # of a connection; a command may take as long again
TRIES_MORE = 3
NAME = "pipelines.data.online_redis.UrlRedisOnlineStore"


class UrlRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """`url` as in `features.online_url`; `password_file` may be empty."""

    type: Literal[NAME] = NAME  # type: ignore[valid-type]
    url: StrictStr
    password_file: StrictStr = ""


class UrlRedisOnlineStore(RedisOnlineStore):
    """Feast finds this class by the name of its configuration."""

    def _get_client(self, online_store_config: UrlRedisOnlineStoreConfig) -> Any:  # type: ignore[override]
        if not self._client:
            self._client = Redis.from_url(
                online_store_config.url,
                socket_connect_timeout=TIMEOUT_S,
                socket_timeout=2 * TIMEOUT_S,
                retry=Retry(ExponentialBackoff(cap=1.0, base=0.1), TRIES_MORE),
                **login(online_store_config.password_file, "features.online_password_file"),
            )
        return self._client
