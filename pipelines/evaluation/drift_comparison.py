"""Compare tonight's rows with those of earlier nights: columns, topics and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.conversations import question_text
from pipelines.core.facts.drift import ColumnFinding, TopicShare
from pipelines.data.topics import find_topics
from pipelines.evaluation.drift_report import draw_page, frame_distances, frame_of
from pipelines.policy.night.drift import (
    ANSWER,
    INPUT,
    ColumnDistances,
    judge_night,
    topic_shares,
    weekdays_to_match,
)
from pipelines.policy.night.feedback import label_of
from pipelines.policy.stats.nights import means_of, standardised_shift

MEAN_SHIFT = "shift of the mean, in spreads"
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """What the comparison found, and Evidently's page (HTML)."""

    drift: bool
    rule: str
    columns: tuple[ColumnFinding, ...]
    topics: tuple[TopicShare, ...]
    same_model: bool
    weekdays_matched: bool
    html: str


def compare_nights(
    nights: Sequence[Rows],
    asked: np.ndarray,
    answered: np.ndarray,
    shown: Sequence[str],
    config: Config,
    seed: int,
    weekdays: Sequence[int] = (),
) -> Comparison:
    """How far each night is from the others in every column; tonight is the last night.

    `asked` and `answered`: unit embeddings (rows, dimension) of all questions and completions, night by
    night; `shown`: the questions without personal data, whose words name the topics.
    """
    task, rows = config.task, [row for night in nights for row in night]
    number = np.repeat(np.arange(len(nights)), [len(night) for night in nights])
    past = number < len(nights) - 1
    texts = [question_text(row["messages"], task.system_prompt) for row in rows]
    codes, words = find_topics(asked, texts, shown, seed)
    frame = frame_of(rows, task, [words[code] for code in codes])
    kinds = weekdays_to_match(weekdays)
    columns = frame_distances(frame, number, kinds)
    columns += [
        ColumnDistances(
            name, about, MEAN_SHIFT, tuple(standardised_shift(*means_of(vectors, number), kinds).tolist())
        )
        for name, about, vectors in (
            ("prompt_embedding", INPUT, asked),
            ("completion_embedding", ANSWER, answered),
        )
    ]
    if any(_told_no_label(row) for row in rows):
        # Then the wanted labels that are known depend on which answers the model got right.
        columns = [replace(one, about=ANSWER) if one.column == "wanted_label" else one for one in columns]
    same_model = len({frozenset(row["adapter"] for row in night) for night in nights}) == 1
    found = judge_night(columns, config.drift.alpha, config.drift.smallest_effect, same_model)
    shares = topic_shares(codes[past], codes[~past], words)
    return Comparison(
        drift=found.drift,
        rule=found.rule,
        columns=tuple(ColumnFinding(**row) for row in found.columns),
        topics=tuple(TopicShare(**row) for row in shares),
        same_model=same_model,
        weekdays_matched=kinds is not None,
        html=draw_page(frame[past], frame[~past], columns, config.drift.smallest_effect),
    )


def _told_no_label(row: dict[str, Any]) -> bool:
    """Whether a person rated the answer without telling the right one."""
    return row["rating"] is not None and label_of(row["rating"], row["correction"], row["completion"]) is None
