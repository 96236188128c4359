"""Questions that are kept out of training for good: an append-only list in the home, by conversation.

A suite can be edited, replaced or lost. What was once an evaluation item still never becomes an example.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pipelines.core.files import read_jsonl
from pipelines.core.locks import holding

FILE = "held_back.jsonl"


def held_back_keys(home: Path) -> frozenset[str]:
    """The keys (`conversation_key`) of every question that was held back so far."""
    file = home / FILE
    return frozenset(row["key"] for row in read_jsonl(file)) if file.exists() else frozenset()


def hold_back(home: Path, keys: Iterable[str], suite: str) -> int:
    """Add the keys that are new, for the suite at this path. Returns how many, once they are on disk."""
    home.mkdir(parents=True, exist_ok=True)
    with holding(home, "held-back"):
        new = sorted(set(keys) - held_back_keys(home))
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with (home / FILE).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"key": key, "suite": suite, "at": at}) + "\n" for key in new)
            file.flush()
            os.fsync(file.fileno())
    return len(new)
