"""The address of a Redis. Its password stands in a file, so that no profile and no manifest holds it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator


def redis_address(url: str) -> str:
    """The same address. Raises ValueError where it is none, or holds a password."""
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a Redis, such as redis://cache:6379/0")
    if parts.password or "password" in parse_qs(parts.query):
        raise ValueError("it holds a password: write the password into a file and name that file instead")
    return url


RedisURL = Annotated[str, AfterValidator(redis_address)]  # redis://HOST:PORT/NUMBER; rediss:// with TLS
