"""Training chats without personal data."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from pipelines.core.config import Config
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
    clean, counts = redactor.redact([message["content"] for message in messages])
    changed = sum(message["content"] != text for message, text in zip(messages, clean, strict=True))
    for message, text in zip(messages, clean, strict=True):
        message["content"] = text
    return Redacted(dict(sorted(counts.items())), len(messages), changed)
