"""`generate`: an answer is free text or calls tools. Of several texts more than one may be right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.core.tools import answer_text, read_answer
from pipelines.evaluation.tasks.base import Kept
from pipelines.evaluation.tasks.written import Written

if TYPE_CHECKING:  # they load torch, which reading an answer does not need
    from pipelines.models.answering import Answering
    from pipelines.models.base import Messages


class Generate(Written):
    is_closed, is_read_whole = False, False

    def read(self, text: str) -> str | None:
        """Calls of tools are put into one form."""
        return answer_text(*read_answer(text.strip())) or None

    def refusal(self, text: str) -> str:
        return "is blank"

    def passages(self, answer: str, prompt: str) -> list[str]:
        return [answer]

    def answers(self, kept: Kept, conversations: Sequence[Messages]) -> list[str]:
        return kept.texts(conversations, self._most)[0]

    def answer(self, answering: Answering, conversation: Messages) -> str:
        return answering.generate([conversation], self._most)[0]
