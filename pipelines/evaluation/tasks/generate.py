"""`generate`: an answer is free text or calls tools. Of several texts more than one may be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.core.tools import answer_text, called, json_value, read_answer
from pipelines.data.reader.cells import as_name
from pipelines.data.reader.strict_json import as_json
from pipelines.evaluation.tasks.base import Kept
from pipelines.evaluation.tasks.written import Written

if TYPE_CHECKING:  # they load torch, which reading an answer does not need
    from pipelines.models.answering import Answering
    from pipelines.models.base import Messages


class Generate(Written):
    is_closed, is_read_whole = False, False

    def read(self, text: str) -> str | None:
        """Calls of tools are put into one form. A single object that looks like a call stays as it is:

        applications without tools ask for such answers in their prompts.
        """
        text = text.strip()
        value = json_value(text)
        is_object = isinstance(value, Mapping) and "tool_calls" not in value
        return (text if is_object else answer_text(*read_answer(text))) or None

    def refusal(self, text: str) -> str:
        return "is blank"

    def form(self, text: str) -> str:
        return text

    def text_of(self, value: Any) -> str | None:
        """A list is one of calls. A number and an object are their JSON text."""
        if isinstance(value, list):
            return answer_text("", called(value)) or None
        if isinstance(value, dict) or (isinstance(value, float) and value % 1):
            return as_json(value)
        return None if isinstance(value, bool) else as_name(value)

    def passages(self, answer: str, prompt: str) -> list[str]:
        return [answer]

    def answers(self, kept: Kept, conversations: Sequence[Messages]) -> list[str]:
        return kept.texts(conversations, self._most)[0]

    def answer(self, answering: Answering, conversation: Messages) -> str:
        return answering.generate([conversation], self._most)[0]
