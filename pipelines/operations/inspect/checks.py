"""Which rows `validate` would refuse: the rules of `data/quality/contract.py`, without Great Expectations.

That takes four seconds to load. A test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.core.config.data import Validate
from pipelines.core.interactions import ROUTES
from pipelines.data.quality.limits import LANGUAGE, LONGEST, MOST_TOKENS, PROMPTING


def broken_rule(cells: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The first rule that a row breaks, in the contract's words, and what was found; None where it passes."""
    for name, most in LONGEST.items():
        if cells[name] is not None and not 1 <= len(cells[name]) <= most:
            return f"{name} is empty or too long", cells[name]
    last = cells["messages"][-1]
    if last["role"] not in PROMPTING:
        return "the last message is not the user's", last["role"]
    if not last["content"].strip(" "):
        return "the prompt is empty", ""
    if not cells["completion"].strip(" "):
        return "completion is empty", ""
    if cells["route"] not in ROUTES:
        return "route is unknown", cells["route"]
    if not re.search(LANGUAGE, cells["locale"]):
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
