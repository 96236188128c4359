"""Training chats without personal data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.core.config import Config
from pipelines.core.tools import TOOLS
from pipelines.data.pii import Redactor
from pipelines.policy.night.dataset import Rows
from pipelines.policy.night.examples import redacted_messages

log = logging.getLogger("nightshift")


@dataclass(frozen=True)
class Redacted:
    """`replaced`: kind of personal data -> how many. `texts`: those looked at, of which `changed` changed."""

    replaced: dict[str, int]
    texts: int
    changed: int


def redact(examples: Rows, config: Config) -> Redacted:
    """Replace personal data in the chats, in place."""
    settings, task = config.curate, config.task
    messages = redacted_messages(examples, task.labels, task.system_prompt)
    log.info("curate: looking for personal data in %d texts", len(messages))
    redactor = Redactor(settings.redact_entities, settings.redact_score, settings.redact_languages)
    return redact_turns(messages, redactor)


def redact_turns(turns: Sequence[dict[str, Any]], redactor: Redactor) -> Redacted:
    """Replace personal data in what turns say and in the calls of tools, in place.

    The tools that are offered are the application's own, as the task's system prompt is, and stay.
    """
    places = [
        (turn, field)
        for turn in turns
        if turn["role"] != TOOLS
        for field in ("content", "tool_calls")
        if field in turn
    ]
    clean, counts = redactor.redact([turn[field] for turn, field in places])
    changed = 0
    for (turn, field), text in zip(places, clean, strict=True):
        changed += turn[field] != text
        turn[field] = text
    return Redacted(dict(sorted(counts.items())), len(places), changed)
