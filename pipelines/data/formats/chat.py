"""OpenAI's chat objects, which the exports of others hold too: requests, answers, messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.core.tools import answer_text, called
from pipelines.data.reader.mapping import ABSENT, at, opened
from pipelines.data.reader.turns import UnfitMessages, joined

TOOL_CALL = "the answer is a tool call"
ANSWER_KEYS = {"output", "content", "tool_calls", "function_call"}
REQUEST_KEYS = {"messages", "input", "prompt", "previous_response_id"}
ANSWER_PARTS = ANSWER_KEYS | {
    "refusal", "reasoning", "reasoning_content", "annotations", "audio", "name", "id", "type", "model",
    "object", "created", "created_at", "usage", "status", "stop_reason", "stop_sequence", "error", "index",
    "additional_kwargs", "response_metadata", "usage_metadata", "finish_reason", "metadata",
}  # fmt: skip
SEEN_BESIDES = {"context", "documents", "history", "chat_history", "preamble", "attachments", "images"}
EVENTS = re.compile(r"\s*(event:|data: ?[{\[])")
MOST_WRAPPED = 3  # objects around the messages
CALLS = {"tool_use", "function_call", "custom_tool_call", "computer_call", "local_shell_call"}
NO_TEXT = {
    "thinking", "redacted_thinking", "reasoning", "web_search_call", "file_search_call",
    "code_interpreter_call", "image_generation_call", "mcp_call", "mcp_list_tools",
}  # fmt: skip


def first(row: Any, *paths: str) -> Any:
    """The value at the first of these paths that has one; None where none has."""
    for path in paths:
        value = at(row, path)
        if value is not ABSENT and value is not None and value != "":
            return value
    return None


def utc(written: Any) -> Any:
    """Exports write UTC, some without saying so."""
    try:
        moment = datetime.fromisoformat(written)
    except (TypeError, ValueError):
        return written
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def answer_of(response: Any) -> Any:
    """The text of an answer: a text, a message, a chat completion, or an object of the Responses API.

    A text of JSON that is none of these is the answer itself. Where it cannot be used, an UnfitMessages
    stands in its place.
    """
    if isinstance(response, str) and EVENTS.match(response):
        return UnfitMessages("the answer is a stream of events, not its text")
    found = opened(response)
    if _are_parts(found):
        return _text_of(found)
    if not isinstance(found, Mapping) or not _is_answer(found):
        return response
    if _are_objects(found.get("choices")):
        return _chosen(opened(found["choices"]))
    if "output" in found and "content" not in found:
        output = opened(found["output"])
        return _text_of(output) if _are_parts(output) else found["output"]
    content = found.get("content")
    said = _text_of(content) if _are_parts(content) else content
    return _with_calls(said, found)


def _with_calls(said: Any, message: Mapping[str, Any]) -> Any:
    """What a message says with its calls of tools, as one text. What cannot be read as calls is refused."""
    written = opened(first(message, "tool_calls", "additional_kwargs.tool_calls"))
    if old := opened(first(message, "function_call")):
        written = written or [{"function": old}]
    if not written or isinstance(said, UnfitMessages):
        return said
    if not (calls := called(written)) or not isinstance(said, str | None):
        return UnfitMessages(TOOL_CALL)
    return answer_text(said or "", calls)


def _is_answer(value: Mapping[str, Any]) -> bool:
    """Whether an object is an answer as APIs write it, and not an answer of JSON with a like name."""
    if _are_objects(value.get("choices")) or _are_parts(opened(value.get("output"))) or "role" in value:
        return True
    return bool(ANSWER_KEYS & value.keys()) and value.keys() <= ANSWER_PARTS


def _are_objects(value: Any) -> bool:
    return isinstance(opened(value), list) and all(isinstance(one, Mapping) for one in opened(value))


def messages_of(value: Any) -> Any:
    """The messages of a request: a list, an object with `messages`, or a single prompt as text.

    Where a part of them is stored elsewhere, an UnfitMessages stands in their place.
    """
    for _ in range(MOST_WRAPPED):
        found = opened(value)
        if not isinstance(found, Mapping) or not REQUEST_KEYS & found.keys():
            break
        if isinstance(value, str) and not {"messages", "model"} & found.keys():
            break  # a question of JSON
        if beside := sorted(SEEN_BESIDES & {name for name in found if found[name]}):
            return UnfitMessages(f"the request holds {beside[0]} beside its messages")
        if elsewhere := _stored_elsewhere(found):
            return UnfitMessages(f"a part of the conversation is stored elsewhere ({elsewhere})")
        value = first(found, "messages", "input", "prompt")
    if isinstance(value, str) and not isinstance(opened(value), list):
        return [{"role": "user", "content": value}]
    return opened(value)


def system_of(request: Any) -> Any:
    """The system prompt that stands beside the messages, as in the Responses API and Anthropic's."""
    return first(request, "system", "instructions")


def _stored_elsewhere(request: Mapping[str, Any]) -> str | None:
    """The field that refers to turns or instructions that the row does not hold."""
    if request.get("previous_response_id"):
        return "previous_response_id"
    if request.get("conversation") and "messages" not in request and "input" in request:
        return "conversation"
    return "prompt" if isinstance(request.get("prompt"), Mapping) else None


def _chosen(choices: Any) -> Any:
    """The answer of a completion. Of several nobody knows which one the user saw."""
    if not isinstance(choices, list) or not choices:
        return None
    if len(choices) > 1:
        return UnfitMessages("the answer has several choices", f"{len(choices)} choices")
    message = first(choices, "0.message")
    return answer_of(message) if isinstance(message, Mapping) else first(choices, "0.text")


def _are_parts(value: Any) -> bool:
    """Whether it is a list of objects that each name their type: parts of a content, items of an output."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, Mapping) and isinstance(one.get("type"), str) for one in value)
    )


def _text_of(parts: Any) -> Any:
    """The text of content parts, or of the Responses API's items; its thoughts are no answer."""
    texts: list[str] = []
    for part in parts if isinstance(parts, list) else []:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in CALLS:
            return UnfitMessages(TOOL_CALL)
        try:
            texts += [] if kind in NO_TEXT else [joined(part["content"] if kind == "message" else [part])]
        except (UnfitMessages, KeyError) as unfit:
            return unfit if isinstance(unfit, UnfitMessages) else UnfitMessages("the answer has no content")
    return "".join(texts)
