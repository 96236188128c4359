"""What a judge is shown holds no personal data that training would not see either."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pipelines.core.config import Config
from pipelines.core.tools import turn_text
from pipelines.evaluation.judges.ask import Pair

log = logging.getLogger("nightshift")


def redacted(config: Config, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with personal data replaced as in training (`curate.redact_entities`)."""
    settings, system = config.curate, config.task.system_prompt
    texts = sorted({text for pair in pairs for text in _texts(pair)} - {system})
    if not texts or not settings.redact_entities:
        return list(pairs)
    from pipelines.data.pii import Redactor  # it loads spaCy

    log.info("judge: looking for personal data in %d texts", len(texts))
    redactor = Redactor(settings.redact_entities, settings.redact_score, settings.redact_languages)
    clean = dict(zip(texts, redactor.redact(texts)[0], strict=True)) | {system: system}
    return [
        Pair(
            [{"role": turn["role"], "content": clean[turn_text(turn)]} for turn in pair.messages],
            clean[pair.one],
            clean[pair.other],
        )
        for pair in pairs
    ]


def _texts(pair: Pair) -> list[str]:
    return [*map(turn_text, pair.messages), pair.one, pair.other]
