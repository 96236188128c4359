"""Questions that are kept out of training for good: an append-only list in the home, by conversation.

A suite can be edited, replaced or lost. What was once an evaluation item still never becomes an example.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.core.conversations import Message, conversation_key
from pipelines.core.files import read_jsonl
from pipelines.core.locks import holding

FILE = "held_back.jsonl"


def held_back_keys(home: Path) -> frozenset[str]:
    """The keys (`conversation_key`) of every question that was held back so far."""
    file = home / FILE
    return frozenset(row["key"] for row in read_jsonl(file)) if file.exists() else frozenset()


def held_back_items(home: Path) -> list[list[dict[str, Any]]]:
    """The conversations of the items that were ever proposed, without personal data."""
    file = home / FILE
    return [row["messages"] for row in read_jsonl(file) if "messages" in row] if file.exists() else []


def hold_back(home: Path, keys: Iterable[str], suite: str, items: Iterable[Sequence[Message]] = ()) -> int:
    """Add the keys that are new, for the suite at this path. Returns how many, once they are on disk.

    `items`: the conversations as the suite asks them, without personal data. What is close to one is not
    trained on either, also when the item has left the suite.
    """
    home.mkdir(parents=True, exist_ok=True)
    asked = {conversation_key(messages): {"messages": list(messages)} for messages in items}
    with holding(home, "held-back"):
        new = sorted({*keys, *asked} - held_back_keys(home))
        at = datetime.now(UTC).isoformat(timespec="seconds")
        rows = ({"key": key, "suite": suite, "at": at, **asked.get(key, {})} for key in new)
        with (home / FILE).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
    return len(new)
