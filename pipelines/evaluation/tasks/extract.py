"""`extract`: an answer is JSON that follows the task's schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.core.config import Config
from pipelines.core.json_schema import Schema
from pipelines.core.json_texts import NotJson, canonical, json_of
from pipelines.data.reader.cells import is_missing
from pipelines.data.reader.strict_json import as_json
from pipelines.evaluation.tasks.base import Kept
from pipelines.evaluation.tasks.written import Written

if TYPE_CHECKING:  # they load torch, which reading an answer does not need
    from pipelines.models.answering import Answering
    from pipelines.models.base import Messages


class Extract(Written):
    """The form of an answer is what the grammar of the gateway writes: the schema's order of keys."""

    is_closed, is_read_whole = True, True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._schema = Schema(config.task.json_schema)
        self._text = json.dumps(config.task.json_schema, ensure_ascii=False)
        self._named = {*texts_in(config.task.json_schema)}  # values of `enum` and `const` among them

    def read(self, text: str) -> str | None:
        value, wrong = self._value(text)
        return None if wrong else json.dumps(value, ensure_ascii=False)

    def refusal(self, text: str) -> str:
        return f"does not follow task.json_schema: {self._value(text)[1]}"

    def _value(self, text: str) -> tuple[Any, str]:
        """The value of a JSON text, and what is wrong with it, "" nothing."""
        try:
            return self._schema.read(json_of(text))
        except NotJson as wrong:
            return None, f"it {wrong}"

    def form(self, text: str) -> str:
        """JSON is compared by its value. What is no JSON is a text."""
        try:
            return canonical(json_of(text))
        except NotJson:
            return text

    def text_of(self, value: Any) -> str | None:
        """JSON text of any value. A text is JSON, or where that is no answer, a value itself."""
        if is_missing(value) or (isinstance(value, str) and not value.strip()):
            return None
        written = as_json(value)
        if isinstance(value, str) and (self.read(value) is not None or self.read(written) is None):
            return value
        return written

    def passages(self, answer: str, prompt: str) -> list[str]:
        """The texts in its JSON but those that the schema or the prompt holds. What is no JSON is a text."""
        try:
            value = json_of(answer)
        except NotJson:
            return [answer]
        said = prompt.casefold()
        new = (text for text in texts_in(value) if text not in self._named)
        return [text for text in new if text.strip().casefold() not in said]

    def answers(self, kept: Kept, conversations: Sequence[Messages]) -> list[str]:
        found = kept.documents(conversations, self._text, self._most)
        return [self.read(text) or text for text in found]

    def answer(self, answering: Answering, conversation: Messages) -> str:
        return answering.documents([conversation], self._text, self._most)[0]


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a value of JSON, keys included, in no order."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            left += [*one, *one.values()]
