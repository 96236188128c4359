"""Draw evaluation items from a log: in proportion by language, tenant and topic, without near duplicates.

An item needs a known answer: a correction, or an answer that its user liked. Personal data is replaced, and
each item is marked as not reviewed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.conversations import last_question, question_text
from pipelines.core.errors import InputError
from pipelines.data.dedupe import NearDuplicates
from pipelines.data.embedder import Embedder
from pipelines.data.held_back import held_back_keys
from pipelines.data.pii import Redactor
from pipelines.data.redaction import redact_turns
from pipelines.data.topics import topic_codes, topic_names
from pipelines.data.training_rows import questions
from pipelines.evaluation.tasks import task_of
from pipelines.policy.night.dataset import Part, holds_any, one_answer_each
from pipelines.policy.night.feedback import is_holdout, labelled
from pipelines.policy.night.proposal import (
    Share,
    draw_in_proportion,
    in_words,
    item_of,
    language_of,
    share_of_each,
)

logger = logging.getLogger("nightshift")
Rows = list[dict[str, Any]]
Group = tuple[str, str, str]  # language, tenant, topic


@dataclass(frozen=True)
class Proposal:
    """Items, the keys of their conversations and of near ones, and where the rows of the log went."""

    items: Rows
    keys: list[str]
    counts: dict[str, int]  # read = drawn + all others
    shares: dict[str, list[Share]]  # by language, tenant and topic
    redacted: dict[str, int]  # kind of personal data -> how often it was replaced


def propose(config: Config, rows: Rows, count: int, trained_until: date | None) -> Proposal:
    """At most `count` items from the rows of a log.

    Rows up to the day `trained_until` may have been trained on. Of those, only the ones that every night
    keeps back can become items. Raises InputError where no row can.
    """
    log = [{**row, "place": place} for place, row in enumerate(rows)]
    embedder = Embedder(config.model.embedder, config.model.threads)
    near = NearDuplicates(embedder, config.curate.near_duplicate_similarity)
    part = _usable(config, log, trained_until)
    usable, asked = part.rows, questions(part.rows, config.task.system_prompt)
    part = part.without(near.within(asked), "near_duplicate")
    if not part.rows:
        raise InputError(
            f"No row of the log can become an evaluation item ({in_words(part.counts)}).",
            "Give a log with corrections or liked answers that the task allows.",
        )
    logger.info("suite: looking for topics in %d questions", len(log))
    texts = [question_text(row["messages"], config.task.system_prompt) for row in log]
    codes = topic_codes(embedder.embed(texts), texts, config.seed)
    groups = [
        (language_of(row["locale"]), row["tenant"], f"{code:02d}")
        for row, code in zip(log, codes, strict=True)
    ]
    known = [groups[row["place"]] for row in part.rows]
    drawn = draw_in_proportion(groups, known, count, np.random.default_rng(config.seed))
    part = part.keep([part.rows[place] for place in drawn], not_drawn=len(known) - len(drawn))
    close = near.matching(asked, questions(part.rows, config.task.system_prompt))
    keys = [usable[place]["key"] for place in close]
    return _proposal(config, part, keys, texts, codes, groups)


def _proposal(
    config: Config,
    part: Part,
    keys: list[str],
    texts: list[str],
    codes: np.ndarray,
    groups: list[Group],
) -> Proposal:
    """The drawn rows as items without personal data. Topics are named by words of what is then left."""
    items = [item_of(row) for row in part.rows]
    redacted = _redact(config, items)
    shown = [""] * len(texts)
    for row, item in zip(part.rows, items, strict=True):
        shown[row["place"]] = question_text(item["messages"], config.task.system_prompt)
    names = topic_names(codes, shown)
    for row, item in zip(part.rows, items, strict=True):
        item["subject"] = names[codes[row["place"]]]
    drawn = [groups[row["place"]] for row in part.rows]
    return Proposal(
        items=items,
        keys=keys,
        counts=part.counts,
        shares={
            "language": share_of_each([group[0] for group in groups], [group[0] for group in drawn]),
            "tenant": share_of_each([group[1] for group in groups], [group[1] for group in drawn]),
            "topic": share_of_each([names[code] for code in codes], [item["subject"] for item in items]),
        },
        redacted=redacted,
    )


def _usable(config: Config, log: Rows, trained_until: date | None) -> Part:
    """Rows with a known answer that were never trained on, one for each conversation, the latest."""
    task, share = config.task, config.curate.holdout_share
    asking = [row for row in log if last_question(row["messages"]).strip()]
    fit = labelled(asking, task_of(config).read, task.system_prompt)
    part = Part(
        fit,
        {
            "read": len(log),
            "no_question": len(log) - len(asking),
            "no_known_answer": len(asking) - len(fit),
        },
    )
    rows, went = one_answer_each(part.rows)
    part = part.keep(rows, **went)
    held = held_back_keys(config)
    asked = [place for place, row in enumerate(part.rows) if holds_any(row, held)]
    part = part.without(asked, "in_a_suite_already")
    trained = [
        place
        for place, row in enumerate(part.rows)
        if trained_until is not None
        and row["ts"].date() <= trained_until
        and not is_holdout(row["messages"], share, task.system_prompt)
    ]
    return part.without(trained, "perhaps_trained_on")


def _redact(config: Config, items: Rows) -> dict[str, int]:
    """Replace personal data in all turns but the task's system prompt. Returns how much, by kind."""
    settings = config.curate
    turns = [
        turn for item in items for turn in item["messages"] if turn["content"] != config.task.system_prompt
    ]
    logger.info("suite: looking for personal data in %d items", len(items))
    redactor = Redactor(settings.redact_entities, settings.redact_score, settings.redact_languages)
    return redact_turns(turns, redactor).replaced
