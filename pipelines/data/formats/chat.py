"""OpenAI's chat objects, which the exports of others hold too: requests, answers, messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.data.reader.mapping import ABSENT, at, opened
from pipelines.data.reader.turns import UnfitMessages

TOOL_CALL = "the answer is a tool call"


def first(row: Any, *paths: str) -> Any:
    """The value at the first of these paths that has one; None where none has."""
    for path in paths:
        value = at(row, path)
        if value is not ABSENT and value is not None and value != "":
            return value
    return None


def answer_of(response: Any) -> Any:
    """The text of an answer: a text, a message, a chat completion, or an object of the Responses API.

    Raises UnfitMessages where the answer is a tool call, or a completion without choices.
    """
    response = opened(response)
    if not isinstance(response, Mapping):
        return response if isinstance(response, str) else None
    if "choices" in response:
        message = first(response, "choices.0.message")
        text = first(response, "choices.0.text")
        return answer_of(message) if message is not None else text
    if isinstance(response.get("output"), list):
        return _responses_text(response["output"])
    content = opened(response.get("content"))
    if response.get("tool_calls") or response.get("function_call"):
        raise UnfitMessages(TOOL_CALL)
    if isinstance(content, list):
        if any(isinstance(part, Mapping) and part.get("type") == "tool_use" for part in content):
            raise UnfitMessages(TOOL_CALL)
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(text for text in texts if isinstance(text, str))
    return content


def messages_of(value: Any) -> Any:
    """The messages of a request: a list, an object with `messages`, or a single prompt as text."""
    value = opened(value)
    if isinstance(value, Mapping):
        value = opened(first(value, "messages", "input", "prompt"))
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return value


def _responses_text(output: list[Any]) -> str:
    """The text of the Responses API's output items."""
    parts = [
        part.get("text")
        for item in output
        if isinstance(item, Mapping)
        and item.get("type") == "message"
        and isinstance(item.get("content"), list)
        for part in item["content"]
        if isinstance(part, Mapping)
    ]
    texts = [text for text in parts if isinstance(text, str)]
    if any(isinstance(item, Mapping) and item.get("type") == "function_call" for item in output):
        raise UnfitMessages(TOOL_CALL)
    return "".join(texts)
