"""What a model answers to the items that guard against loss. Answers are kept, as neither changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.evaluation import scores
from pipelines.evaluation.kept_answers import KeptAnswers
from pipelines.evaluation.scores import Question
from pipelines.evaluation.suite import Item
from pipelines.evaluation.tasks import Task


@dataclass(frozen=True)
class Guards:
    """What is asked: general questions, passages of general text, and kept-back rows of earlier nights."""

    general: Sequence[Question]
    passages: Sequence[str]
    earlier: Sequence[Item]
    task: Task


@dataclass(frozen=True)
class GuardScores:
    """`belief`: (n,) see `scores.belief`. `answers`: one for each earlier row."""

    belief: np.ndarray
    perplexity: float
    answers: list[str]


def guard_scores(asked: Guards, kept: KeptAnswers) -> GuardScores:
    """What a model scores."""
    use = kept.use
    general, passages = list(asked.general), list(asked.passages)
    return GuardScores(
        belief=np.array(kept.of("belief", general, lambda: scores.belief(use(), general).tolist()), float),
        perplexity=float(kept.of("perplexity", passages, lambda: [scores.perplexity(use(), passages)])[0]),
        answers=asked.task.answers(kept, [item["messages"] for item in asked.earlier])
        if asked.earlier
        else [],
    )
