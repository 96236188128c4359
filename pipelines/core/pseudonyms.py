"""Names for people where their ids must not stand: keyed hashes, equal for one home and person."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from pathlib import Path

from pipelines.core.files import write_secret_once


def pseudonym_key(home: Path) -> bytes:
    """The home's own key, made on first use. Without it nobody can find a person by trying ids."""
    path = home / "keys" / "pseudonyms.key"
    write_secret_once(path, secrets.token_bytes(32))
    return path.read_bytes()


def pseudonym(key: bytes, *names: str) -> str:
    """`names` are what identifies the person, such as tenant and id."""
    return f"person-{hmac.new(key, json.dumps(names).encode(), hashlib.sha256).hexdigest()[:12]}"
