"""The address of a Redis. Its password stands in a file, so that no profile and no manifest holds it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from pipelines.core.addresses import is_server


def redis_address(url: str) -> str:
    """The same address. Raises ValueError where it is none; a profile refuses one with a password."""
    if url and not is_server(url, ("redis", "rediss")):
        raise ValueError(f"{url!r} is not the address of a Redis, such as redis://cache:6379/0")
    return url


RedisURL = Annotated[str, AfterValidator(redis_address)]  # redis://HOST:PORT/NUMBER; rediss:// with TLS
