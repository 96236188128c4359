"""Names for people where their ids must not stand: keyed hashes, equal for one home and person."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

from pipelines.core.keys import key_in


def pseudonym_key(keys: Path) -> bytes:
    """The key in a folder of keys. Without it nobody can find a person by trying ids."""
    return key_in(keys, "pseudonyms.key")


def pseudonym(key: bytes, *names: str) -> str:
    """`names` are what identifies the person, such as tenant and id."""
    return f"person-{hmac.new(key, json.dumps(names).encode(), hashlib.sha256).hexdigest()[:12]}"
