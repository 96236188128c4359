"""What steps ask of a task, so that none of them asks which kind it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.core.config import Config

if TYPE_CHECKING:  # they load torch, which reading an answer does not need
    from pipelines.models.answering import Answering
    from pipelines.models.base import Messages
    from pipelines.models.rendering import Rendering

Floats = NDArray[np.float64]
Read = Callable[[str], str | None]


class Kept(Protocol):
    """Answers of one model that are kept: `pipelines.evaluation.kept_answers`."""

    def choices(self, conversations: Sequence[Messages], labels: Sequence[str]) -> list[str]: ...

    def documents(self, conversations: Sequence[Messages], schema: str, max_new_tokens: int) -> list[str]: ...

    def texts(
        self, conversations: Sequence[Messages], max_new_tokens: int
    ) -> tuple[list[str], list[int]]: ...


class Task(Protocol):
    """A task of a profile.

    `measure`: what an item's score is, in words. `is_closed`: an answer that differs from the right one is
    wrong, so users' labels tell of any answer whether it is right. `is_graded`: scores lie between 0 and 1.
    `has_classes`: answers are few enough to be counted one by one.
    `is_read_whole`: the beginning of an answer tells nothing, so it is judged only as a whole.
    """

    measure: str
    is_closed: bool
    is_graded: bool
    has_classes: bool
    is_read_whole: bool

    def __init__(self, config: Config) -> None: ...

    def check_settings(self) -> None:
        """Raises InputError where the settings name no answer."""

    def read(self, text: str) -> str | None:
        """A text of a log or of a suite as an answer, in the task's own form. None: it is no answer."""

    def refusal(self, text: str) -> str:
        """Why `read` takes a text for no answer, as the end of a sentence that begins with "its answer"."""

    def form(self, text: str) -> str:
        """A text that two answers have in common where they are the same answer, and only there."""

    def text_of(self, value: Any) -> str | None:
        """A value of a suite's column `answer` as a text for `read`. None or Unfit: it is no answer."""

    def answers(self, kept: Kept, conversations: Sequence[Messages]) -> list[str]:
        """A model's answer to each conversation, kept from an earlier run where it can be."""

    def answer(self, answering: Answering, conversation: Messages) -> str:
        """One answer that is never kept, to time it."""

    def score(self, answers: Sequence[str], right: Sequence[str]) -> Floats:
        """(n,) how good each answer is, in [0, 1]."""

    def passages(self, answer: str, prompt: str) -> list[str]:
        """The texts in a model's answer that tell a person something. There may be none."""

    def check(self, rendering: Rendering, answers: Sequence[str]) -> None:
        """Raises InputError for the first of these right answers that the model can never give."""
