"""The object stores and the Redis that machines share: reachable, writable, each manifest written once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

from redis import Redis
from redis.exceptions import RedisError

from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError
from pipelines.operations.doctor.finding import Finding, failure
from pipelines.stores.blobs import Folder
from pipelines.stores.redis_server import login, redis_fault

ROOTS = ("runs_root", "lake_root", "shared_root", "artifact_root")
SKEW_WARN_S = 60.0  # S3 refuses requests from 15 minutes on
REDIS_TIMEOUT_S = 5.0


def look_at_stores(config: Config) -> list[Finding]:
    """A finding for each root that lies elsewhere, and for each Redis."""
    roots = {name: config.path(getattr(config, name)) for name in ROOTS}
    return [*(_root(name, uri) for name, uri in roots.items() if "://" in uri), *_redis(config)]


def _root(name: str, uri: str) -> Finding:
    """Writes a small file twice, as a manifest is written, and removes it."""
    place = f"doctor-{secrets.token_hex(8)}"
    probe = f"{place}/probe"
    try:
        folder = Folder(uri, name)
        try:
            wrote = folder.create(probe, b"1")
            again = folder.create(probe, b"2")
            skew_s = abs(time.time() - folder.files(place)[probe].modified_at)
        finally:
            folder.remove(place)
    except NightshiftError as error:
        return failure(name, error)
    if not wrote or again:
        said = (
            f"{uri} takes no notice of conditional writes, so of two processes at a step the last one wins."
        )
        return Finding(
            "warn", name, said, "Take a store that honours If-None-Match; docs/cluster.md names some."
        )
    if skew_s > SKEW_WARN_S:
        said = f"The clock of {uri} and this machine's differ by {skew_s:.0f} s."
        return Finding("warn", name, said, "Let both follow one time server (NTP).")
    return Finding("ok", name, f"{uri} can be read and written, and writes a manifest once.")


def _redis(config: Config) -> Iterator[Finding]:
    features, gateway = config.features, config.gateway
    for setting, url, file_setting, file in (
        (
            "features.online_url",
            features.online_url,
            "features.online_password_file",
            features.online_password_file,
        ),
        ("gateway.redis_url", gateway.redis_url, "gateway.redis_password_file", gateway.redis_password_file),
    ):
        if url:
            yield _one_redis(setting, url, file_setting, file)


def _one_redis(setting: str, url: str, file_setting: str, file: str) -> Finding:
    try:
        timeouts = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
        with Redis.from_url(url, **timeouts, **login(file, file_setting)) as server:
            version = server.info("server")["redis_version"]
    except (RedisError, OSError) as error:
        return failure(setting, redis_fault(error, url, setting, file_setting))
    except NightshiftError as error:
        return failure(setting, error)
    return Finding("ok", setting, f"Redis {version} answers at {url}.")
