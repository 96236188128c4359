"""A conversation as a base model can be given it: shorter, without system or thoughts, with calls. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.core.conversations import Message
from pipelines.core.tools import TOOLS, calls_of, name_of, tools_in
from pipelines.models.control_tokens import CannotRender

END_OF_THOUGHT = "</think>"
ALWAYS = ("system", TOOLS)  # roles of turns that stay however long a conversation is


def without_thoughts(turns: Sequence[Message], space: str) -> list[Message]:
    """The turns as templates of reasoning models show them: what an assistant said after thinking."""
    return [
        {**turn, "content": turn["content"].rpartition(END_OF_THOUGHT)[2].lstrip(space)}
        if turn["role"] == "assistant"
        else turn
        for turn in turns
    ]


def folded(turns: Sequence[Message]) -> list[Message]:
    """The system's texts at the beginning of the first user turn."""
    system = [turn["content"] for turn in turns if turn["role"] == "system"]
    others = [turn for turn in turns if turn["role"] != "system"]
    first = next((place for place, turn in enumerate(others) if turn["role"] == "user"), None)
    if not system:
        return others
    if first is None:
        raise CannotRender(
            "The base model's chat template takes no system prompt, and no user speaks in this conversation.",
            "Add a user turn.",
        )
    asked = "\n\n".join([*system, others[first]["content"]])
    return [*others[:first], {**others[first], "content": asked}, *others[first + 1 :]]


def later_starts(turns: Sequence[Message]) -> list[int]:
    """The user turns that a shortened conversation may begin with, the oldest first."""
    spoken = [place for place, turn in enumerate(turns) if turn["role"] not in ALWAYS]
    return [place for place in spoken[1:] if turns[place]["role"] == "user"]


def beginning_at(turns: Sequence[Message], start: int) -> list[Message]:
    """The turns from a place on. The system's turns and the tools always stay."""
    return [turn for place, turn in enumerate(turns) if place >= start or turn["role"] in ALWAYS]


def tool_names(messages: Sequence[Message]) -> set[str]:
    """The names of the tools that a conversation offers. Raises CannotRender where one has none."""
    try:
        return {name_of(tool) or "" for tool in tools_in(messages)}
    except ValueError as error:
        raise CannotRender(str(error), "Write them in OpenAI's form.") from error


def with_calls(turn: Message) -> Message:
    """A turn with its calls as values, not as JSON text."""
    if not (written := turn.get("tool_calls")):
        return turn
    if not (calls := calls_of(written)):
        raise CannotRender("An assistant's tool calls cannot be read.", "Write them in OpenAI's form.")
    return {**turn, "tool_calls": calls}
