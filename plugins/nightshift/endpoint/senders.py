"""Who may send alerts: whoever has the token, or signs the body with the key. Both are files of the home."""

from __future__ import annotations

import hmac
import math
import re
import secrets
from datetime import datetime
from pathlib import Path

from fastapi import HTTPException
from starlette.datastructures import Headers

from nightshift.settings import Settings
from pipelines.core.files import write_once

TIMESTAMP, SIGNATURE = "x-nightshift-timestamp", "x-nightshift-signature"
REALM = {"WWW-Authenticate": 'Bearer realm="nightshift alerts"'}
RETRY_AFTER_S = 5


def check_headers(settings: Settings, headers: Headers, now: datetime) -> bool:
    """Refuse a sender before its body is read. Returns whether `check_signature` has to check the body too.

    Raises HTTPException 401 for a wrong token or an old timestamp, 503 where no secret is set up.
    """
    if any(len(headers.getlist(name)) > 1 for name in ("authorization", SIGNATURE, TIMESTAMP)):
        raise HTTPException(401, "Send one proof: a header with it is there twice.", REALM)
    if SIGNATURE in headers:
        stamp = headers.get(TIMESTAMP, "")
        age_s = now.timestamp() - int(stamp) if re.fullmatch(r"[0-9]{1,12}", stamp) else math.inf
        if abs(age_s) > settings.config.alerts.max_skew_s:
            raise HTTPException(401, f"{TIMESTAMP} is not now: sign anew, or set the sender's clock.", REALM)
        return True
    scheme, _, token = headers.get("authorization", "").partition(" ")
    expected = _secret(settings, settings.config.alerts.token_file)
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), expected):
        raise HTTPException(401, "Send the token of alerts.token_file, or a signature.", REALM)
    return False


def check_signature(settings: Settings, headers: Headers, body: bytes) -> None:
    """Raises HTTPException 401 where the signature is not that of the timestamp and the body."""
    key = _secret(settings, settings.config.alerts.hmac_key_file)
    expected = sign(key, headers[TIMESTAMP], body)
    if not hmac.compare_digest(headers[SIGNATURE].encode(), expected.encode()):
        raise HTTPException(401, f"{SIGNATURE} does not fit the timestamp and the body.", REALM)


def sign(key: bytes, timestamp: str, body: bytes) -> str:
    """`sha256=` and the hex HMAC-SHA256 of the timestamp (Unix seconds), a dot and the body."""
    return "sha256=" + hmac.digest(key, timestamp.encode() + b"." + body, "sha256").hex()


def create_secrets(settings: Settings) -> None:
    """Make the token and the key where they are missing, mode 0600."""
    for template in (settings.config.alerts.token_file, settings.config.alerts.hmac_key_file):
        path = Path(settings.config.path(template))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_once(path, secrets.token_urlsafe(32).encode())


def _secret(settings: Settings, template: str) -> bytes:
    """Read at each request, so that a changed secret counts at once. Without one nobody gets in."""
    try:
        secret = Path(settings.config.path(template)).read_bytes().strip()
    except OSError:
        secret = b""
    if not secret:
        retry = {"Retry-After": str(RETRY_AFTER_S)}
        raise HTTPException(503, "No secret is set up here. Run `make setup`.", retry)
    return secret
