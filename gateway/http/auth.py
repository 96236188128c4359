"""Who calls: an OAuth2 access token (JWT, RS256) of a client, checked against the issuer's published keys."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import jwt

from gateway.errors import Refusal
from pipelines.core.config import Gateway

REQUIRED = ["exp", "iss", "aud", "sub", "tenant"]
log = logging.getLogger("nightshift.gateway")


@dataclass(frozen=True)
class Caller:
    """An authenticated client of a tenant. Its scopes are `model:NAME` or `model:*`, and `feedback`."""

    tenant: str
    client: str
    scopes: frozenset[str]

    def may_use(self, model: str) -> bool:
        """Whether the scopes cover a model."""
        return not self.scopes.isdisjoint({f"model:{model}", "model:*"})


class IssuerKeys:
    """The issuer's public keys by `kid`, from a JWKS file or URL.

    They are read again when older than `ttl_s` or when a token names an unknown key, at most once per
    `retry_s`. Known keys stay in use while the issuer does not respond.
    """

    def __init__(self, source: str, ttl_s: float, retry_s: float) -> None:
        self._source, self._ttl_s, self._retry_s = source, ttl_s, retry_s
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried_at = self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key with this id, or None."""
        if kid not in self._keys:
            await self._read()
        elif time.monotonic() - self._read_at > self._ttl_s and not self._reading.locked():
            self._renewal = asyncio.create_task(self._read())
        return self._keys.get(kid)

    async def _read(self) -> None:
        async with self._reading:
            if time.monotonic() - self._tried_at < self._retry_s:
                return
            self._tried_at = time.monotonic()
            try:
                found = await asyncio.to_thread(_jwk_set, self._source)
            except (OSError, ValueError, jwt.PyJWTError) as error:
                log.error("the issuer's keys cannot be read, so the known ones stay in use: %s", error)
                return
            rsa = (key for key in found.keys if key.key_type == "RSA" and key.public_key_use in ("sig", None))
            self._keys = {key.key_id: key for key in rsa if key.key_id}
            self._read_at = time.monotonic()


def _jwk_set(source: str) -> jwt.PyJWKSet:
    if source.startswith(("http://", "https://")):
        return jwt.PyJWKClient(source, cache_jwk_set=False, timeout=5).get_jwk_set()
    return jwt.PyJWKSet.from_dict(json.loads(Path(source).read_bytes()))


class Verifier:
    """Checks access tokens."""

    def __init__(self, settings: Gateway, jwks: str) -> None:
        self._settings = settings
        self._keys = IssuerKeys(jwks, settings.jwks_ttl_s, settings.jwks_retry_s)

    async def caller(self, authorization: str | None) -> Caller:
        """The caller whose token an Authorization header holds. Raises Refusal (401) for any bad token."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("send `Authorization: Bearer TOKEN`")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != "RS256":
                raise _unauthorized("the token is not signed with RS256")
            key = await self._keys.find(str(header.get("kid", "")))
            if key is None:
                raise _unauthorized("the token's key is unknown")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=["RS256"],  # never what the token itself names
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=self._settings.clock_skew_s,
                options={"require": REQUIRED},
            )
        except jwt.PyJWTError as error:
            raise _unauthorized(str(error)) from error
        tenant, scope = claims["tenant"], claims.get("scope", "")
        if not isinstance(tenant, str) or not 0 < len(tenant) <= 200 or not isinstance(scope, str):
            raise _unauthorized("the token names no tenant")
        return Caller(tenant, claims["sub"], frozenset(scope.split()))


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, "invalid_token", message, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
