"""Questions that are kept out of training for good: a list that only grows, by conversation.

Each addition is a file of its own below `shared_root`, so that two machines at once lose nothing. A suite
can be edited, replaced or lost. What was once an evaluation item still never becomes an example.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.core.config import Config
from pipelines.core.conversations import Message, conversation_key
from pipelines.stores import open_shared

FOLDER = "held_back"
OLD_FILE = "held_back.jsonl"  # of homes before there were folders


def held_back_keys(config: Config) -> frozenset[str]:
    """The keys (`conversation_key`) of every question that was held back so far."""
    return frozenset(row["key"] for row in _rows(config))


def held_back_items(config: Config) -> list[list[dict[str, Any]]]:
    """The conversations of the items that were ever proposed, without personal data."""
    return [row["messages"] for row in _rows(config) if "messages" in row]


def hold_back(
    config: Config, keys: Iterable[str], suite: str, items: Iterable[Sequence[Message]] = ()
) -> int:
    """Add the keys that are new, for the suite at this path. Returns how many, once they are stored.

    `items`: the conversations as the suite asks them, without personal data. What is close to one is not
    trained on either, also when the item has left the suite.
    """
    asked = {conversation_key(messages): {"messages": list(messages)} for messages in items}
    new = sorted({*keys, *asked} - held_back_keys(config))
    if not new:
        return 0
    now = datetime.now(UTC)
    rows = (
        {"key": key, "suite": suite, "at": now.isoformat("T", "seconds"), **asked.get(key, {})} for key in new
    )
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    name = f"{now:%Y-%m-%dT%H%M%S}-{hashlib.sha256(data).hexdigest()[:16]}.jsonl"
    open_shared(config).write_bytes(f"{FOLDER}/{name}", data)
    return len(new)


def _rows(config: Config) -> list[dict[str, Any]]:
    """Every addition, the first one first. A question that two machines added at once is there twice."""
    shared = open_shared(config)
    paths = [OLD_FILE, *(path for path in shared.files(FOLDER) if path.endswith(".jsonl"))]
    read = shared.read_many(paths)
    lines = (line for path in paths if path in read for line in read[path].decode().split("\n"))
    return [json.loads(line) for line in lines if line.strip()]
