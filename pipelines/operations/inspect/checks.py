"""Which rows `validate` would refuse: the rules of `data/quality/contract.py`, without Great Expectations.

That takes four seconds to load. A test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.core.config.data import Validate
from pipelines.core.interactions import ROUTES

LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
LIMITS = {"request_id": 200, "tenant": 200, "subject_id": 200, "adapter": 200, "channel": 64}
MOST_TOKENS = 10_000_000


def broken_rule(cells: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The first rule that a row breaks, in the contract's words, and what was found; None where it passes."""
    for name, most in LIMITS.items():
        if cells[name] is not None and not 1 <= len(cells[name]) <= most:
            return f"{name} is empty or too long", cells[name]
    last = cells["messages"][-1]
    if last["role"] not in ("user", "tool"):
        return "the last message is not the user's", last["role"]
    if not last["content"].strip(" "):
        return "the prompt is empty", ""
    if not cells["completion"].strip(" "):
        return "completion is empty", ""
    if cells["route"] not in ROUTES:
        return "route is unknown", cells["route"]
    if not LANGUAGE.fullmatch(cells["locale"]):
        return "locale is not a language tag", cells["locale"]
    most_ms = Validate().max_latency_ms
    for name, least, limit in (
        ("tokens_in", 1, MOST_TOKENS),
        ("tokens_out", 0, MOST_TOKENS),
        ("latency_ms", 0, most_ms),
    ):
        if cells[name] is not None and not least <= cells[name] <= limit:
            return f"{name} is out of range", cells[name]
    return None
