"""What a model answers to the items that guard against loss. Answers are kept, as neither changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.core.config import Evaluate
from pipelines.evaluation import instructions, scores
from pipelines.evaluation.instructions import INSTRUCTIONS, Instruction
from pipelines.evaluation.kept_answers import KeptAnswers
from pipelines.evaluation.scores import Question
from pipelines.evaluation.suite import Item
from pipelines.evaluation.tasks import Task
from pipelines.models.rendering import Rendering


@dataclass(frozen=True)
class Guards:
    """What is asked: general questions and text, instructions, and kept-back rows of earlier nights."""

    general: Sequence[Question]
    passages: Sequence[str]
    earlier: Sequence[Item]
    task: Task
    instructions: Sequence[Instruction]
    instruction_tokens: int  # of one answer to these, at most


@dataclass(frozen=True)
class GuardScores:
    """`belief`: (n,) see `scores.belief`. `answers`: one for each earlier row. `followed`: (n,) 0 or 1."""

    belief: np.ndarray
    perplexity: float
    answers: list[str]
    followed: np.ndarray


def guards_of(settings: Evaluate, task: Task, rendering: Rendering, earlier: Sequence[Item]) -> Guards:
    """What a profile asks. An instruction that does not fit into a prompt is left out."""
    general = scores.general_questions(settings.general_items)
    passages = [passage for passage, _, _ in general[: settings.perplexity_items]]
    chosen = INSTRUCTIONS[: settings.instruction_items]
    fit = [one for one in chosen if rendering.takes(instructions.asked(one))]
    return Guards(general, passages, earlier, task, fit, settings.instruction_tokens)


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
        followed=_followed(asked, kept),
    )


def _followed(asked: Guards, kept: KeptAnswers) -> np.ndarray:
    if not asked.instructions:
        return np.zeros(0)
    conversations = [instructions.asked(one) for one in asked.instructions]
    answers, _ = kept.texts(conversations, asked.instruction_tokens)
    return instructions.followed(asked.instructions, answers)
