"""What tasks whose answers are written, and not chosen from a list, have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.evaluation.tasks.base import Floats

if TYPE_CHECKING:  # they load torch, which reading an answer does not need
    from pipelines.evaluation.scorers import Scorer
    from pipelines.models.rendering import Rendering


class Written:
    is_graded, has_classes = True, False

    def __init__(self, config: Config) -> None:
        self._most = config.model.max_new_tokens
        self.measure = config.scorers[0]
        self._config = config

    def check_settings(self) -> None:
        """The profile was refused where they name none."""

    def score(self, answers: Sequence[str], right: Sequence[str]) -> Floats:
        return self._scorers[self.measure](answers, right)

    @cached_property
    def _scorers(self) -> dict[str, Scorer]:
        """Loaded when they are needed: reading an answer needs none."""
        from pipelines.evaluation.scorers import scorers_of

        return scorers_of(self._config)

    def check(self, rendering: Rendering, answers: Sequence[str]) -> None:
        tokens, answer = max((len(rendering.answer_ids(answer)), answer) for answer in answers)
        if tokens >= self._most:
            raise InputError(
                f"The model can never give the answer {answer[:60]!r}: it has {tokens} tokens, and "
                f"model.max_new_tokens is {self._most}.",
                f"Raise model.max_new_tokens above {tokens}.",
            )
