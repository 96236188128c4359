"""The secret that all gateways of one traffic split share, and the request ids that carry its mark."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from pathlib import Path

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.keys import key_in

LEAST_KEY_BYTES = 16
REQUEST_ID = re.compile(r"chatcmpl-([0-9a-f]{20})([0-9a-f]{12})")


def routing_key(config: Config) -> bytes:
    """The secret that decides each person's side of the traffic split; made if there is none.

    All gateways of one route need the same key. Raises InputError for a key that is too short to be one, and
    where it is missing and cannot be made.
    """
    file = _file(config)
    key = key_in(file.parent, file.name)
    if len(key) < LEAST_KEY_BYTES:
        raise InputError(
            f"The key in {file} has {len(key)} bytes, and {LEAST_KEY_BYTES} are the least.",
            "Copy it from another gateway, or delete it while no rollout is under way.",
        )
    return key


def _file(config: Config) -> Path:
    """Older versions kept the key beside the journal, and it stays there."""
    old = Path(config.home) / "gateway" / "routing.key"
    return old if old.exists() else config.keys_folder / "routing.key"


def new_request_id(key: bytes, tenant: str) -> str:
    """A random id. Any gateway with the key can tell that this tenant was given it."""
    drawn = secrets.token_hex(10)
    return f"chatcmpl-{drawn}{_mark(key, tenant, drawn)}"


def was_given(key: bytes, tenant: str, request_id: str) -> bool:
    """Whether a gateway with this key gave the id to the tenant."""
    found = REQUEST_ID.fullmatch(request_id)
    return found is not None and hmac.compare_digest(found[2], _mark(key, tenant, found[1]))


def _mark(key: bytes, tenant: str, drawn: str) -> str:
    content = json.dumps(["request id", tenant, drawn]).encode()
    return hmac.new(key, content, hashlib.sha256).hexdigest()[:12]
