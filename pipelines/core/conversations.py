"""What a conversation is: its one form, its identity, and the text that carries its question.

Its identity is everything the model saw: the system prompt, all turns and the tools. Tools that are
offered are a turn of their own (`pipelines.core.tools`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.core.spelling import normal_form
from pipelines.core.tools import apart, calls_of, json_value, tools_text, with_tools

Message = Mapping[str, Any]

# What a chat template may ask for. They are fixed, so that a prompt is the same on every day, and a reasoning
# model answers without thinking, as it is trained here. A server behind the gateway gets the same ones.
TEMPLATE_VARIABLES: dict[str, Any] = {
    "enable_thinking": False,
    "thinking": False,
    "date_string": "26 Jul 2024",
}
_FIELDS = ("role", "content", "name", "tool_call_id", "tool_calls")


def normalise(text: str) -> str:
    """Equal for texts that differ only in case, spacing, Unicode form or ASCII's outer punctuation.

    A conversation is known by it, and its side of the holdout with it, so it may never change. Whether two
    answers are one tells `pipelines.core.spelling.answer_form`.
    """
    folded = normal_form("NFKC", normal_form("NFKC", text).casefold())
    words = folded.split()
    return " ".join(words).strip(" .,;:!?\"'()[]")


def normalise_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages in one form: `developer` is `system`, text parts are joined, empty fields are left out."""
    return [_normalised(message) for message in messages]


def with_system(messages: Sequence[Message], system_prompt: str) -> list[dict[str, Any]]:
    """The messages in one form, behind the task's system prompt unless they have a system turn."""
    tools, turns = apart(normalise_messages(messages))
    if system_prompt and not any(turn["role"] == "system" for turn in turns):
        turns = [{"role": "system", "content": system_prompt}, *turns]
    return with_tools(turns, tools)


def conversation_key(messages: Sequence[Message], tools: Any = None) -> str:
    """sha256 over all that the model saw. Case, spacing and outer punctuation of a turn do not matter.

    `tools`: the tools that were offered, as JSON text or as a value, where no turn offers them. The ids of
    calls are new each time and do not count.
    """
    offered, turns = apart(normalise_messages(messages))
    seen = {
        "messages": [_identity(turn) for turn in turns],
        "tools": json_value(offered or tools_text(tools)) or None,
    }
    return hashlib.sha256(
        json.dumps(seen, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ).hexdigest()


def question_text(messages: Sequence[Message], system_prompt: str | None = None) -> str:
    """The text that carries the question: a lone user turn, otherwise all turns but a leading system prompt.

    With `system_prompt`, the task's, a leading system prompt that differs from it is part of the question.
    """
    turns = _without_system(normalise_messages(messages), system_prompt)
    return "\n".join(turn["content"] for turn in turns)


def last_question(messages: Sequence[Message]) -> str:
    """The text of the last user turn; "" without one."""
    turns = reversed(normalise_messages(messages))
    return next((turn["content"] for turn in turns if turn["role"] == "user"), "")


def lone_question(messages: Sequence[Message], system_prompt: str) -> str | None:
    """The user's text where nothing but the task's system prompt stands beside it; else None."""
    turns = _without_system(normalise_messages(messages), system_prompt)
    if apart(messages)[0]:
        return None
    return turns[0]["content"] if [turn["role"] for turn in turns] == ["user"] else None


def beginnings_of(messages: Sequence[Message]) -> list[list[dict[str, Any]]]:
    """A conversation up to each of its user turns, the shortest first."""
    turns = normalise_messages(messages)
    return [turns[: place + 1] for place, turn in enumerate(turns) if turn["role"] == "user"]


def text_of(content: Any) -> str:
    """The text of a message's content: text itself, joined text parts, or "" for none."""
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = (part if isinstance(part, str) else part.get("text") or "" for part in content)
        return "".join(parts)
    return content or ""


def _normalised(message: Message) -> dict[str, Any]:
    turn = {field: message[field] for field in _FIELDS if message.get(field) is not None}
    role = "system" if message["role"] == "developer" else message["role"]
    return {**turn, "role": role, "content": text_of(message.get("content"))}


def _identity(turn: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in turn.items() if key != "tool_call_id"}
    if written := kept.pop("tool_calls", None):
        calls = [call["function"] for call in calls_of(written)]
        kept["tool_calls"] = calls or json_value(written)
    return {**kept, "content": normalise(turn["content"]) or turn["content"].strip()}


def _without_system(turns: list[dict[str, Any]], system_prompt: str | None) -> list[dict[str, Any]]:
    _, turns = apart(turns)
    if not turns or turns[0]["role"] != "system":
        return turns
    own = system_prompt is None or normalise(turns[0]["content"]) == normalise(system_prompt)
    return turns[1:] if own else turns
