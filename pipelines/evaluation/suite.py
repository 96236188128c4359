"""The frozen evaluation suite: a JSONL of items, asked night after night and never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.files import read_jsonl, sha256_of
from pipelines.policy.night.feedback import normalise, prompt_of

Item = dict[str, Any]


def suite_digest(config: Config) -> str:
    """sha256 of the suite's file."""
    return sha256_of(_path(config))


def suite_items(config: Config) -> list[Item]:
    """Items with `id`, `subject`, `messages`, `answer` and the slices. Raises InputError without a file."""
    return read_jsonl(_path(config))


def suite_prompts(config: Config) -> list[str]:
    """The normalised last question of each item."""
    return [normalise(prompt_of(item["messages"])) for item in suite_items(config)]


def _path(config: Config) -> Path:
    path = Path(config.path(config.evaluate.suite))
    if not path.is_file():
        raise InputError(
            f"There is no evaluation suite at {path}.",
            "Run `nightshift prepare` for the sample's, or point evaluate.suite to your own JSONL of items.",
        )
    return path
