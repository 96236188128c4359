"""Which labelled rows may be trained on: what evaluation asks, and what repeats another row, leaves."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.data.dedupe import NearDuplicates
from pipelines.policy.night.dataset import Part, Rows, one_answer_each, without_evaluation
from pipelines.policy.night.feedback import normalise


def trainable(part: Part, holdout_share: float, suite: Sequence[str], near: NearDuplicates) -> Part:
    """One answer a question, nothing that evaluation asks, no near duplicates (the latest stays)."""
    rows, went = one_answer_each(part.rows)
    part = part.keep(rows, **went)
    rows, went = without_evaluation(part.rows, holdout_share, suite)
    part = part.keep(rows, **went)
    part = part.without(near.matching(prompts(part.rows), suite), "near_suite")
    newest_first = Part(part.rows[::-1], part.counts)
    part = newest_first.without(near.within(prompts(newest_first.rows)), "near_duplicate")
    return Part(part.rows[::-1], part.counts)


def prompts(rows: Rows) -> list[str]:
    """The normalised question of each row."""
    return [normalise(row["prompt"]) for row in rows]
