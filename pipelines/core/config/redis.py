"""The address of a Redis. Its password stands in a file, so that no profile and no manifest holds it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def redis_address(url: str) -> str:
    """The same address. Raises ValueError where it is none; a profile refuses one with a password."""
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a Redis, such as redis://cache:6379/0")
    return url


RedisURL = Annotated[str, AfterValidator(redis_address)]  # redis://HOST:PORT/NUMBER; rediss:// with TLS
