"""`extract`: an answer is JSON that follows the task's schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jsonschema import SchemaError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.data.reader.strict_json import from_json
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
        self._schema = config.task.json_schema
        kind = validator_for(self._schema)
        try:
            kind.check_schema(self._schema)
        except SchemaError as error:
            raise InputError(
                f"task.json_schema is no JSON schema: {error.message[:200]}.", "Correct it."
            ) from None
        self._validator = kind(self._schema, registry=Registry())  # without one, it would ask the network
        self._text = json.dumps(self._schema, ensure_ascii=False)
        self._named = {*texts_in(self._schema)}  # values of `enum` and `const` among them

    def read(self, text: str) -> str | None:
        value, wrong = self._value(text)
        return None if wrong else json.dumps(_ordered(value, self._schema, self._schema), ensure_ascii=False)

    def refusal(self, text: str) -> str:
        return f"does not follow task.json_schema: {self._value(text)[1]}"

    def _value(self, text: str) -> tuple[Any, str]:
        """The value of a JSON text, and what is wrong with it, "" nothing."""
        try:
            value = from_json(text)
        except (ValueError, RecursionError):
            return None, "it is not JSON"
        try:
            error = next(self._validator.iter_errors(value), None)
        except Unresolvable as unknown:
            return None, f"the schema refers to {unknown}, which it does not hold"
        return value, error.message[:200] if error else ""

    def passages(self, answer: str, prompt: str) -> list[str]:
        """The texts in its JSON but those that the schema or the prompt holds. What is no JSON is a text."""
        try:
            value = from_json(answer)
        except (ValueError, RecursionError):
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


def _ordered(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    """A value with the keys of its objects in the schema's order, and whole numbers without a point."""
    schema = _resolved(schema, root)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_ordered(one, schema.get("items"), root) for one in value]
    if not isinstance(value, dict):
        return value
    named = schema.get("properties", {})
    keys = [*(key for key in named if key in value), *(key for key in value if key not in named)]
    return {key: _ordered(value[key], named.get(key), root) for key in keys}


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema, or the part of the root that its `$ref` points to; {} where it has none in this document."""
    for _ in range(32):
        place = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not (isinstance(place, str) and place.startswith("#/")):
            break
        found: Any = root
        for name in place[2:].split("/"):
            name = name.replace("~1", "/").replace("~0", "~")
            found = found.get(name, {}) if isinstance(found, Mapping) else {}
        schema = found
    return schema if isinstance(schema, Mapping) else {}
