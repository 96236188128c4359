"""Who calls: an OAuth2 access token (JWT, RS256) of a client, checked against the issuer's published keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import Refusal, retry_later
from gateway.http.issuer_keys import IssuerKeys, KeysUnavailable
from pipelines.core.config import Gateway

REQUIRED = ["exp", "iss", "aud", "sub", "tenant"]
# What PyJWT raises for claims of odd types, such as an `exp` that is infinite or a list.
ODD = (jwt.PyJWTError, ValueError, TypeError, OverflowError, AttributeError, RecursionError)

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Claims(BaseModel):
    """The claims of Nightshift in a token."""

    model_config = ConfigDict(strict=True)

    tenant: Name
    sub: Name
    scope: str = ""
    states_users: bool = False


@dataclass(frozen=True)
class Caller:
    """An authenticated client of a tenant. Its scopes are `model:NAME` or `model:*`, and `feedback`.

    `states_users`: the issuer trusts the client to name the person who asks. Without it the client itself is
    the person, whatever the body says.
    """

    tenant: str
    client: str
    scopes: frozenset[str]
    states_users: bool = False

    def may_use(self, model: str) -> bool:
        """Whether the scopes cover a model."""
        return not self.scopes.isdisjoint({f"model:{model}", "model:*"})

    def subject(self, stated: str) -> str:
        """The person whom a request counts for; `stated` is whom the body names, "" if nobody."""
        return stated if self.states_users and stated else self.client


class Verifier:
    """Checks access tokens."""

    def __init__(self, settings: Gateway, jwks: str) -> None:
        self._settings = settings
        self._keys = IssuerKeys(jwks, settings.jwks_ttl_s, settings.jwks_retry_s)

    async def caller(self, authorizations: Sequence[str]) -> Caller:
        """The caller whose token the Authorization header holds.

        Raises Refusal: 401 for any bad token and for two headers, which a proxy may read differently; 503 if
        the issuer's keys cannot be read.
        """
        if len(authorizations) > 1:
            raise _unauthorized(f"send one Authorization header, not {len(authorizations)}")
        scheme, _, token = "".join(authorizations).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("send `Authorization: Bearer TOKEN`")
        try:
            claims = Claims.model_validate(await self._claims(token))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise _unauthorized(f"the claim {first['loc'][0]} is not valid: {first['msg']}") from None
        except KeysUnavailable:
            message = "the issuer's keys cannot be read"
            raise retry_later(503, "keys_unavailable", message, self._settings.jwks_retry_s) from None
        except ODD as error:
            raise _unauthorized(
                str(error) if isinstance(error, jwt.PyJWTError) else "it is no JWT"
            ) from error
        return Caller(claims.tenant, claims.sub, frozenset(claims.scope.split()), claims.states_users)

    async def _claims(self, token: str) -> dict[str, Any]:
        """What a token with a good signature says. Raises one of ODD, or KeysUnavailable."""
        header = jwt.get_unverified_header(token)
        if header.get("alg") != "RS256":
            raise jwt.InvalidAlgorithmError("the token is not signed with RS256")
        key = await self._keys.find(str(header.get("kid", "")))
        if key is None:
            raise jwt.InvalidKeyError("the token's key is unknown")
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=["RS256"],  # never what the token itself names
            issuer=self._settings.issuer,
            audience=self._settings.audience,
            leeway=self._settings.clock_skew_s,
            options={"require": REQUIRED},
        )
        return claims


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, "invalid_token", message, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
