"""Tools in a conversation: those that are offered, and the calls of them, each in one form of JSON. Pure.

The tools that a model is offered are a turn of its conversation: the role is `tools`, the content their JSON.
So all that reads, renders or compares a conversation has them. An answer that calls tools is a text: a JSON
list of `{"name": ..., "arguments": {...}}`, or, where words stand beside the calls, an object with `content`
and `tool_calls`. Keys have one order, because a model reads them in the order in which they stand.

Calls are read here and nowhere else, so that what is trained on, served and scored is the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipelines.core.json_texts import is_deep

TOOLS = "tools"  # the role of the turn that offers them
NO_ID = "000000000"  # of a call whose id nobody told; some templates want nine letters or digits
_FIRST = ("type", "function", "name", "description", "parameters")  # keys that come before others
_SAID = {"content", "tool_calls", "role"}  # keys of an answer that calls
_BESIDE = {"refusal", "annotations", "audio", "function_call", "reasoning", "reasoning_content"}  # empty ones
_OF_TOOLS = {"description", "strict"}  # keys that a tool has, and no call of it
Message = Mapping[str, Any]


class Call(NamedTuple):
    """A call of a tool. `arguments`: an object, or the text of a model that wrote none."""

    name: str
    arguments: Any


def with_tools(messages: Sequence[Message], tools: Any) -> list[Any]:
    """The messages behind a turn that offers these tools (a list or its JSON text), if there are any."""
    text = tools_text(tools)
    return [{"role": TOOLS, "content": text}, *messages] if text else [*messages]


def apart(messages: Sequence[Message]) -> tuple[str | None, list[Any]]:
    """The JSON text of the tools that a conversation offers, None for none, and its other turns."""
    offered = [turn["content"] for turn in messages if turn["role"] == TOOLS]
    return (offered[-1] if offered else None), [turn for turn in messages if turn["role"] != TOOLS]


def tools_text(tools: Any) -> str | None:
    """Tools in one form, as JSON text; None for none. What is no list of JSON stays as it is."""
    value = json_value(tools)
    if not isinstance(value, list):
        return value or None if isinstance(value, str) else None
    return as_text([_wrapped(tool) for tool in value]) if value else None


def tools_in(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The tools that a conversation offers. Raises ValueError where one of them has no name."""
    text, _ = apart(messages)
    value = json_value(text) if text else []
    if not isinstance(value, list) or not all(name_of(tool) for tool in value):
        raise ValueError("The conversation offers tools that are no list of functions with names.")
    return value


def name_of(tool: Any) -> str | None:
    """The name of a tool in OpenAI's form, None where it has none."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) and name else None


def calls_of(written: Any) -> list[dict[str, Any]]:
    """The calls of an assistant's turn (a list, or its JSON text) as chat templates take them.

    Arguments that are JSON text become what they say. What is no list of calls gives none.
    """
    value = json_value(written)
    found = []
    for one in value if isinstance(value, list) else []:
        call = call_of(one)
        if call is None:
            return []
        id_ = one.get("id")
        function = {"name": call.name, "arguments": call.arguments}
        found.append({"id": id_ if isinstance(id_, str) else NO_ID, "type": "function", "function": function})
    return found


def called(written: Any) -> list[Call]:
    """The calls of an assistant's turn; none for what is no list of calls."""
    return [Call(**call["function"]) for call in calls_of(written)]


def arguments_text(arguments: Any) -> str:
    """A call's arguments as JSON text, as OpenAI's API has them."""
    return arguments if isinstance(arguments, str) else as_text(arguments)


def answer_text(content: str, calls: Sequence[Call]) -> str:
    """An answer as a text: what was said, the calls, or both."""
    if not calls:
        return content
    written = [call._asdict() for call in calls]
    return as_text({"content": content, "tool_calls": written} if content.strip() else written)


def turn_text(turn: Message) -> str:
    """What a turn says, with its calls, as an answer is written."""
    return answer_text(turn["content"], called(turn.get("tool_calls")))


def read_answer(text: str) -> tuple[str, list[Call]]:
    """What an answer says beside its calls, and the calls; none for a text that calls nothing.

    Calls are a list of JSON, a single one, or a message as OpenAI's API writes it.
    """
    value = json_value(text) if text.lstrip()[:1] in ("[", "{") else None
    content, written = _parts(value) if isinstance(value, Mapping) and "tool_calls" in value else ("", value)
    calls = [call_of(one) for one in (written if isinstance(written, list) else [written])]
    if not calls or None in calls or not isinstance(content, str):
        return text, []
    return content, [call for call in calls if call]


def call_of(value: Any) -> Call | None:
    """A call as OpenAI writes it, or without the object around; None for anything else."""
    function = value.get("function", value) if isinstance(value, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
        return None
    if "arguments" in function:
        return Call(name, _arguments(function["arguments"]))
    if _OF_TOOLS & function.keys() or ("parameters" not in function and "function" not in value):
        return None  # a tool, or any other object with a name
    return Call(name, _arguments(function.get("parameters")))


def json_value(written: Any) -> Any:
    """JSON text as the value that it writes, any other value as it is; what is not plain JSON stays text."""
    try:
        value = json.loads(written) if isinstance(written, str) else written
    except (ValueError, RecursionError):
        return written
    if is_plain(value):
        return value
    return written if isinstance(written, str) else repr(written)


def is_plain(value: Any) -> bool:
    """Whether a value can be written as JSON: no NaN, no half characters, nested MAX_DEPTH deep at most."""
    if is_deep(value):
        return False
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError):
        return False
    return True


def as_text(value: Any) -> str:
    """The JSON text of a value, with the keys of its objects in one order."""
    return json.dumps(_ordered(value), ensure_ascii=False)


def _wrapped(tool: Any) -> Any:
    """A function in the form of today: older clients and other APIs write it without the object around."""
    if not isinstance(tool, Mapping) or "function" in tool or "name" not in tool:
        return tool
    if tool.get("type", "function") != "function":
        return tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def _parts(message: Message) -> tuple[Any, Any]:
    """The content and the calls of an assistant's message; no calls where it says more than these."""
    is_known = message.keys() <= _SAID | _BESIDE and message.get("role", "assistant") == "assistant"
    if not is_known or any(message.get(key) for key in _BESIDE):
        return "", None
    return "" if message.get("content") is None else message["content"], message["tool_calls"]


def _arguments(written: Any) -> Any:
    """The object that arguments are. None are as good as an empty one; text that is none stays."""
    found = json_value(written)
    if found in (None, ""):
        return {}
    return _ordered(found) if isinstance(found, Mapping) else arguments_text(written)


def _ordered(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_ordered(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    keys = [*(key for key in _FIRST if key in value), *sorted(key for key in value if key not in _FIRST)]
    return {key: _ordered(value[key]) for key in keys}
