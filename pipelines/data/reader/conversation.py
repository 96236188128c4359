"""The conversation and its answer, in whichever of the ways a row has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.core.tools import answer_text, called
from pipelines.data.reader import cells
from pipelines.data.reader.turns import Turn, UnfitMessages, as_messages


def conversation_of(given: Mapping[str, Any], completion: str | None) -> tuple[list[Turn] | None, str | None]:
    """The turns up to the answer, and the answer. None where the row has none.

    `prompt` stands for messages of one user turn, `system` for a turn before them. Raises UnfitMessages.
    """
    turns = as_messages(_asked(given))
    if turns is None:
        return None, completion
    turns, answer = split_answer(turns, completion)
    return _with_system(turns, given.get("system")), answer


def split_answer(turns: list[Turn], completion: str | None) -> tuple[list[Turn], str | None]:
    """Messages and answer. A conversation that ends in the answer is cut before it; calls become text."""
    last = turns[-1] if turns else None
    if last is None or last["role"] != "assistant":
        return turns, completion
    said = (completion or "").strip()
    is_answer = not said or said == (last["content"] or "").strip()
    if is_answer and last["tool_calls"]:
        if not (calls := called(last["tool_calls"])):
            raise UnfitMessages("the answer is a tool call that cannot be read")
        return turns[:-1], answer_text(last["content"] or "", calls)
    if is_answer:
        return turns[:-1], last["content"]
    return turns, completion


def _with_system(turns: list[Turn], system: Any) -> list[Turn]:
    """The turns after a system prompt that stood outside of them; once where they begin with it."""
    if cells.is_missing(system) or system in ("", []):
        return turns
    (turn,) = as_messages([{"role": "system", "content": system}]) or []
    return turns if turns[:1] == [turn] else [turn, *turns]


def _asked(given: Mapping[str, Any]) -> Any:
    """The messages, or the one question in their place. Raises UnfitMessages where that is no text."""
    value, prompt = given.get("messages"), given.get("prompt")
    if cells.is_missing(prompt) or prompt == "":
        return value
    if not cells.is_missing(value):
        return _of_both(value, prompt)
    if not isinstance(prompt, str):
        raise UnfitMessages(f"prompt is not text, but {cells.kind_of(prompt)}", cells.shown(prompt))
    return [{"role": "user", "content": prompt}]


def _of_both(value: Any, prompt: Any) -> Any:
    """The messages where the prompt only repeats their last question. Nobody knows what else was asked."""
    turns = as_messages(value) or []
    asked = [turn["content"] for turn in turns if turn["role"] == "user"]
    if asked[-1:] != [prompt]:
        raise UnfitMessages("messages and prompt say different things")
    return value
