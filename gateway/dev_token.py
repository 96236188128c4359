"""A small token issuer for one machine: makes a key pair and its JWKS in the home, and prints a token.

    TOKEN=$(.venv/bin/python -m gateway.dev_token --tenant north-clinic)

In production, your identity provider issues tokens by the OAuth2 client credentials grant.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipelines.core.config import Config
from pipelines.core.config.options import load, shared_options
from pipelines.core.files import write_atomically, write_once


def private_key(folder: Path) -> rsa.RSAPrivateKey:
    """The issuer's key. It and its JWKS are made if there is none."""
    file, jwks = folder / "private.pem", folder / "jwks.json"
    if not file.exists():
        write_once(file, _new_key())
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    if not jwks.exists():
        write_atomically(jwks, json.dumps({"keys": [public_jwk(key)]}).encode())
    return key


def _new_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_jwk(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """The public key as a JWK; its `kid` is its thumbprint."""
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "use": "sig", "alg": "RS256", "kid": thumbprint(key)}


def thumbprint(key: rsa.RSAPrivateKey) -> str:
    """The JWK thumbprint of the public key (RFC 7638)."""
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    canonical = json.dumps({name: jwk[name] for name in ("e", "kty", "n")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


def make_token(
    config: Config,
    key: rsa.RSAPrivateKey,
    tenant: str,
    scope: str,
    hours: float,
    client: str = "dev",
    states_users: bool = False,
) -> str:
    """A signed access token for a client of `tenant`. With `states_users` it may name the person who asks."""
    now = int(time.time())
    claims = {
        "iss": config.gateway.issuer,
        "aud": config.gateway.audience,
        "sub": client,
        "tenant": tenant,
        "scope": scope,
        "states_users": states_users,
        "iat": now,
        "nbf": now,
        "exp": now + int(hours * 3600),
    }
    return jwt.encode(claims, key, "RS256", {"kid": thumbprint(key)})


def main() -> None:
    args = _parser().parse_args()
    config = load(args)
    key = private_key(Path(config.home) / "gateway" / "dev")
    print(make_token(config, key, args.tenant, args.scope, args.hours, args.client, args.states_users))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.dev_token",
        description="Print an access token for one machine. Makes the issuer's key pair at the first call.",
        parents=[shared_options()],
    )
    parser.add_argument("--tenant", default="north-clinic", help="the tenant (default: %(default)s)")
    parser.add_argument("--client", default="dev", help="the client, claim `sub` (default: %(default)s)")
    parser.add_argument("--scope", default="model:* feedback", help="scopes (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=8.0, help="valid for (default: %(default)g)")
    parser.add_argument(
        "--states-users", action="store_true", help="the client may name the person who asks (field `user`)"
    )
    return parser


if __name__ == "__main__":
    main()
