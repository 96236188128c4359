"""Compare tonight's rows with the reference: columns, topics and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.conversations import question_text
from pipelines.core.facts.drift import ColumnFinding, TopicShare
from pipelines.data.topics import find_topics
from pipelines.evaluation.drift_report import compare, frame_of
from pipelines.policy.night.drift import ANSWER, INPUT, ColumnTest, drifted_columns, topic_shares
from pipelines.policy.night.feedback import label_of
from pipelines.policy.stats.permutation import energy_test, permutations_needed

ENERGY = "energy distance, relabelled"
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """What the tests found, and Evidently's page (HTML)."""

    drift: bool
    columns: tuple[ColumnFinding, ...]
    topics: tuple[TopicShare, ...]
    same_model: bool
    permutations: int
    html: str


def compare_windows(
    before: Rows,
    tonight: Rows,
    asked: np.ndarray,
    answered: np.ndarray,
    shown: Sequence[str],
    config: Config,
    seed: int,
) -> Comparison:
    """Test every column of both windows.

    `asked` and `answered`: unit embeddings (rows, dimension) of questions and of completions; `shown`: the
    questions without personal data, whose words name the topics. The rows of `before` come first.
    """
    alpha, task, cut, rows = config.drift.alpha, config.task, len(before), [*before, *tonight]
    texts = [question_text(row["messages"], task.system_prompt) for row in rows]
    codes, words = find_topics(asked, texts, shown, seed)
    named = [words[code] for code in codes]
    frames = frame_of(before, task, named[:cut]), frame_of(tonight, task, named[cut:])
    columns = len(frames[0].columns) + 2  # and the two embeddings
    permutations = permutations_needed(config.drift.permutations, columns, alpha)
    tests, html = compare(*frames, permutations, seed, threshold=alpha / columns)

    rng = np.random.default_rng([seed, 1])
    for name, about, vectors in (
        ("prompt_embedding", INPUT, asked),
        ("completion_embedding", ANSWER, answered),
    ):
        p_value, effect = energy_test(vectors[:cut], vectors[cut:], permutations, rng)
        tests.append(ColumnTest(name, about, ENERGY, p_value, effect))

    if any(_told_no_label(row) for row in rows):
        # Then the wanted labels that are known depend on which answers the model got right.
        tests = [replace(test, about=ANSWER) if test.column == "wanted_label" else test for test in tests]
    same_model = {row["adapter"] for row in before} == {row["adapter"] for row in tonight}
    drift, found = drifted_columns(tests, alpha, same_model)
    shares = topic_shares(codes[:cut], codes[cut:], words)
    return Comparison(
        drift=drift,
        columns=tuple(ColumnFinding(**row) for row in found),
        topics=tuple(TopicShare(**row) for row in shares),
        same_model=same_model,
        permutations=permutations,
        html=html,
    )


def _told_no_label(row: dict[str, Any]) -> bool:
    """Whether a person rated the answer without telling the right one."""
    return row["rating"] is not None and label_of(row["rating"], row["correction"], row["completion"]) is None
