"""A small issuer for one machine: makes a key pair and its JWKS under the home, prints a token.

    TOKEN=$(.venv/bin/python -m gateway.dev_token --tenant north-clinic)

Real ones come from your identity provider by the OAuth2 client credentials grant.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipelines.core.config import Config
from pipelines.core.options import load, shared_options


def private_key(folder: Path) -> rsa.RSAPrivateKey:
    """The issuer's key; made, with its JWKS, where there is none."""
    file = folder / "private.pem"
    if file.exists():
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key
    folder.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        target.write(pem)
    (folder / "jwks.json").write_text(json.dumps({"keys": [public_jwk(key)]}))
    return key


def public_jwk(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """The public half as a JWK; `kid` is its thumbprint (RFC 7638)."""
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**jwk, "use": "sig", "alg": "RS256", "kid": thumbprint(key)}


def thumbprint(key: rsa.RSAPrivateKey) -> str:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    canonical = json.dumps({name: jwk[name] for name in ("e", "kty", "n")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


def make_token(
    config: Config, key: rsa.RSAPrivateKey, tenant: str, scope: str, hours: float, client: str = "dev"
) -> str:
    """A signed access token for a client of `tenant`."""
    now = int(time.time())
    claims = {
        "iss": config.gateway.issuer,
        "aud": config.gateway.audience,
        "sub": client,
        "tenant": tenant,
        "scope": scope,
        "iat": now,
        "nbf": now,
        "exp": now + int(hours * 3600),
    }
    return jwt.encode(claims, key, "RS256", {"kid": thumbprint(key)})


def main() -> None:
    args = _parser().parse_args()
    config = load(args)
    key = private_key(Path(config.home) / "gateway" / "dev")
    print(make_token(config, key, args.tenant, args.scope, args.hours))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.dev_token",
        description="Print an access token for one machine. Makes the issuer's key pair at the first call.",
        parents=[shared_options()],
    )
    parser.add_argument("--tenant", default="north-clinic", help="the tenant (default: %(default)s)")
    parser.add_argument("--scope", default="model:* feedback", help="scopes (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=8.0, help="valid for (default: %(default)g)")
    return parser


if __name__ == "__main__":
    main()
