"""Items that were proposed for the suite: a list that only grows, one file an addition.

An item is known by its digest: of what it asks, and of its answer. So a review holds for this text only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.conversations import conversation_key
from pipelines.stores import open_shared

FOLDER = "suites/proposed"  # below shared_root
Item = Mapping[str, Any]


@dataclass(frozen=True)
class Proposal:
    """`item`: as in a suite's file. `source`: the log that it was drawn from. `at`: when, ISO 8601 in UTC."""

    item: Item
    source: str
    at: str

    @cached_property
    def digest(self) -> str:
        return item_digest(self.item["messages"], self.item["answer"])

    @cached_property
    def key(self) -> str:
        return conversation_key(self.item["messages"])


def item_digest(messages: Any, answer: str) -> str:
    """sha256 (hex) of what an item asks and of its answer."""
    return digest_of([conversation_key(messages), answer])


def add_proposals(config: Config, items: Iterable[Item], source: str) -> int:
    """Add the items that were not proposed before. Returns how many, once they are stored."""
    known = proposals(config)
    new = [item for item in items if item_digest(item["messages"], item["answer"]) not in known]
    if not new:
        return 0
    now = datetime.now(UTC)
    about = {"source": source, "at": now.isoformat("T", "seconds")}
    lines = (json.dumps({**about, "item": dict(item)}, ensure_ascii=False) + "\n" for item in new)
    data = "".join(lines).encode()
    name = f"{now:%Y-%m-%dT%H%M%S%f}-{hashlib.sha256(data).hexdigest()[:16]}.jsonl"
    open_shared(config).write_bytes(f"{FOLDER}/{name}", data)
    return len(new)


def proposals(config: Config) -> dict[str, Proposal]:
    """Every item that was ever proposed, by its digest, the first one first."""
    shared = open_shared(config)
    read = shared.read_many([path for path in shared.files(FOLDER) if path.endswith(".jsonl")])
    lines = (line for path in sorted(read) for line in read[path].decode().split("\n") if line.strip())
    found = (Proposal(**json.loads(line)) for line in lines)
    by_digest: dict[str, Proposal] = {}
    for one in found:
        by_digest.setdefault(one.digest, one)
    return by_digest
