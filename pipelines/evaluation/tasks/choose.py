"""`choose`: an answer is one of the task's labels, and right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.spelling import answer_form
from pipelines.data.reader.cells import as_name
from pipelines.evaluation.tasks.base import Floats, Kept

if TYPE_CHECKING:  # they load torch, which reading an answer does not need
    from pipelines.models.answering import Answering
    from pipelines.models.base import Messages
    from pipelines.models.rendering import Rendering


class Choose:
    measure, is_closed, is_graded, has_classes = "accuracy", True, False, True
    is_read_whole = False

    def __init__(self, config: Config) -> None:
        self._labels = config.task.labels
        self._spelling = {answer_form(label): label for label in self._labels}

    def check_settings(self) -> None:
        if not self._labels:
            raise InputError(
                "task.labels is empty, so no answer can be chosen.",
                'List the allowed answers there, or set task.kind = "generate" for free text.',
            )

    def read(self, text: str) -> str | None:
        """Without labels, as a gateway for free chat may be, any text is an answer."""
        return self._spelling.get(answer_form(text)) if self._labels else text

    def refusal(self, text: str) -> str:
        return f"is none of task.labels ({', '.join(self._labels)})"

    def form(self, text: str) -> str:
        return text

    def text_of(self, value: Any) -> str | None:
        return None if isinstance(value, bool | list | dict) else as_name(value)

    def answers(self, kept: Kept, conversations: Sequence[Messages]) -> list[str]:
        return kept.choices(conversations, self._labels)

    def answer(self, answering: Answering, conversation: Messages) -> str:
        return answering.choose([conversation], self._labels)[0]

    def score(self, answers: Sequence[str], right: Sequence[str]) -> Floats:
        return np.array([float(one == other) for one, other in zip(answers, right, strict=True)])

    def passages(self, answer: str, prompt: str) -> list[str]:
        return [answer]

    def check(self, rendering: Rendering, answers: Sequence[str]) -> None:
        """A choice ends with the first label whose tokens are complete."""
        paths = dict(zip(self._labels, rendering.paths(self._labels), strict=True))
        for one, a in paths.items():
            for other, b in paths.items():
                if one != other and b[: len(a)] == a:
                    raise InputError(
                        f"The tokens of the label {one!r} begin those of {other!r}, so it is never chosen.",
                        "Rename one of them.",
                    )
