"""Whether a model still follows instructions: what it is asked, and which of its answers follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.evaluation.instructions.checks import tidy
from pipelines.evaluation.instructions.items import INSTRUCTIONS, Instruction

if TYPE_CHECKING:
    from pipelines.core.conversations import Message

SYSTEM_PROMPT = "You are a helpful assistant."  # the task's own may forbid what an instruction asks for
__all__ = ["INSTRUCTIONS", "Instruction", "asked", "followed", "follows"]


def asked(instruction: Instruction) -> list[Message]:
    """The conversation in which a model is given the instruction."""
    return [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": instruction.prompt},
    ]


def follows(instruction: Instruction, answer: str) -> bool:
    """Whether an answer does all that is asked. One without a word or a digit does nothing."""
    text = tidy(answer)
    return any(map(str.isalnum, text)) and all(check(text) for check in instruction.checks)


def followed(instructions: Sequence[Instruction], answers: Sequence[str]) -> np.ndarray:
    """(n,) 1 where an answer follows its instruction, else 0."""
    pairs = zip(instructions, answers, strict=True)
    return np.array([float(follows(one, answer)) for one, answer in pairs], dtype=float)
