"""The issuer's public keys, from a JWKS file or URL."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt

MOST_BYTES = 1_000_000
FETCH_S = 5.0  # for one reading of the keys
WAIT_S = 1.0  # a caller with an unknown key waits this long for a reading
log = logging.getLogger("nightshift.gateway")


class KeysUnavailable(Exception):
    """The keys could not be read in time, so nobody knows whether a key is the issuer's."""


class IssuerKeys:
    """The issuer's public keys by `kid`.

    They are read again when older than `ttl_s` or when a token names an unknown key, at most once per
    `retry_s`. There is one reading for all who wait. Known keys never wait, and stay in use while the issuer
    does not respond.
    """

    def __init__(self, source: str, ttl_s: float, retry_s: float) -> None:
        self._source, self._ttl_s, self._retry_s = source, ttl_s, retry_s
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried_at = self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._is_read = False  # whether the last reading succeeded

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key with this id, or None if the issuer has none. Raises KeysUnavailable."""
        if kid in self._keys:
            if time.monotonic() - self._read_at > self._ttl_s:
                self._read_soon()
            return self._keys[kid]
        self._read_soon()
        if self._reading:
            await asyncio.wait([self._reading], timeout=WAIT_S)
        if kid not in self._keys and (self._reading or not self._is_read):
            raise KeysUnavailable
        return self._keys.get(kid)

    def _read_soon(self) -> None:
        if self._reading is None and time.monotonic() - self._tried_at >= self._retry_s:
            self._tried_at = time.monotonic()
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        self._is_read = False
        try:
            async with asyncio.timeout(FETCH_S):
                self._keys = usable_keys(await _load(self._source))
            self._read_at, self._is_read = time.monotonic(), True
        except (OSError, ValueError, RecursionError, aiohttp.ClientError) as error:
            found = f"{type(error).__name__}: {error}"
            log.error("the issuer's keys cannot be read, so the known ones stay in use: %s", found)
        finally:
            self._reading = None


async def _load(source: str) -> bytes:
    """Raises OSError, TimeoutError, aiohttp.ClientError, or ValueError for more than MOST_BYTES."""
    if not source.startswith(("http://", "https://")):
        return await asyncio.to_thread(_load_file, source)
    async with (
        aiohttp.ClientSession(trust_env=True) as session,
        # Not redirected, as another address is not the one that the configuration trusts.
        session.get(source, allow_redirects=False, raise_for_status=True) as response,
    ):
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            _check_size(len(body))
        return bytes(body)


def _load_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        found = file.read(MOST_BYTES + 1)
    _check_size(len(found))
    return found


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")


def usable_keys(jwks: bytes) -> dict[str, jwt.PyJWK]:
    """The RSA keys for signatures by `kid`, without the bad ones. Raises ValueError if none is left."""
    found = json.loads(jwks)
    entries = found.get("keys") if isinstance(found, dict) else None
    keys = [_key(entry) for entry in entries] if isinstance(entries, list) else []
    usable = {key.key_id: key for key in keys if key and key.key_id}
    if not usable:
        raise ValueError("there is no RSA key with a kid")
    return usable


def _key(entry: Any) -> jwt.PyJWK | None:
    is_rsa = isinstance(entry, dict) and entry.get("kty") == "RSA" and isinstance(entry.get("kid"), str)
    if not is_rsa or entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
        return None
    try:
        return jwt.PyJWK(entry, "RS256")
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        log.warning("a key of the issuer is left out: %s: %s", type(error).__name__, error)
        return None
