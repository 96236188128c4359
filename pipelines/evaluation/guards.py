"""What a model answers to the items that guard against loss. Answers are kept, as neither changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    """`belief`: (n,) see `scores.belief`. `answers`: one for each earlier row.

    `said`: one for each instruction, and `followed`: (n,) whether it follows it, 0 or 1.
    """

    belief: np.ndarray
    perplexity: float
    answers: list[str]
    said: list[str]
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
    use, said = kept.use, _said(asked, kept)
    general, passages = list(asked.general), list(asked.passages)
    return GuardScores(
        belief=np.array(kept.of("belief", general, lambda: scores.belief(use(), general).tolist()), float),
        perplexity=float(kept.of("perplexity", passages, lambda: [scores.perplexity(use(), passages)])[0]),
        answers=asked.task.answers(kept, [item["messages"] for item in asked.earlier])
        if asked.earlier
        else [],
        said=said,
        followed=instructions.followed(asked.instructions, said),
    )


def instruction_rows(asked: Guards, guards: Mapping[str, GuardScores]) -> Iterator[dict[str, Any]]:
    """What each model said to each instruction, for people who ask which ones were lost."""
    for place, one in enumerate(asked.instructions):
        said = {name: its.said[place] for name, its in guards.items()}
        follows = {f"{name}_follows": bool(its.followed[place]) for name, its in guards.items()}
        yield {"instruction": one.prompt, **said, **follows}


def _said(asked: Guards, kept: KeptAnswers) -> list[str]:
    if not asked.instructions:
        return []
    conversations = [instructions.asked(one) for one in asked.instructions]
    return kept.texts(conversations, asked.instruction_tokens)[0]
