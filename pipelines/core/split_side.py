"""Which side of a canary a person is on. Pure.

A keyed hash places each person on [0, 1) once for each canary; those below the weight get it. So a person
stays on one side, growing the weight keeps those already in, and another canary meets other people first.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Literal

from pipelines.core.traffic_split import Route

Side = Literal["production", "canary"]


def place(key: bytes, tenant: str, subject: str, digest: str) -> float:
    """Where a person falls on [0, 1) for the canary with this digest; nobody without the key can tell."""
    person = json.dumps([tenant, subject, digest]).encode()
    drawn = hmac.new(key, person, hashlib.sha256).digest()
    return int.from_bytes(drawn[:8], "big") / 2**64


def side(route: Route, key: bytes, tenant: str, subject: str) -> Side:
    """Who answers this person."""
    if route.canary is None:
        return "production"
    placed = place(key, tenant, subject, route.canary.digest)
    return "canary" if placed < route.canary_weight else "production"
