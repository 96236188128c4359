"""Each suite that a night asked or a renewal replaced, by its digest: so what was decided stays clear."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.core.config import Config
from pipelines.core.conversations import conversation_key
from pipelines.stores import open_shared

FOLDER = "suites/asked"  # below shared_root
Item = Mapping[str, Any]


def keep_suite(config: Config, digest: str, items: Iterable[Item]) -> None:
    """Keep the items of a suite. One that is kept already stays as it is."""
    shared, path = open_shared(config), _path(digest)
    if not shared.exists(path):
        lines = (json.dumps(item, ensure_ascii=False, default=str) + "\n" for item in items)
        shared.write_bytes(path, "".join(lines).encode())


def kept_suite(config: Config, digest: str) -> dict[str, str] | None:
    """The key of each question of a kept suite, and its answer; None where the suite is not kept."""
    path = _path(digest)
    data = open_shared(config).read_many([path]).get(path)
    if data is None:
        return None
    return answers_by_key(json.loads(line) for line in data.decode().split("\n") if line.strip())


def kept_digests(config: Config) -> list[str]:
    """The digests of all suites that are kept, sorted."""
    return [path.rpartition("/")[2].removesuffix(".jsonl") for path in open_shared(config).files(FOLDER)]


def answers_by_key(items: Iterable[Item]) -> dict[str, str]:
    """The key of each item's question, and its answer."""
    return {conversation_key(item["messages"]): item["answer"] for item in items}


def _path(digest: str) -> str:
    return f"{FOLDER}/{digest}.jsonl"
