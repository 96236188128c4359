"""The frozen evaluation suite: items that are asked night after night and never trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.conversations import conversation_key, last_question, normalise, normalise_messages
from pipelines.core.errors import InputError
from pipelines.core.files import sha256_of
from pipelines.data.reader.turns import UnfitMessages, as_messages
from pipelines.evaluation.suite_file import Line, lines_of
from pipelines.policy.night.feedback import uses_tools

Item = dict[str, Any]
SLICES = ("subject", "tenant", "locale", "channel")
EVERY = "all"  # the value of a slice that an item does not name


def suite_digest(config: Config) -> str:
    """sha256 of what the suite asks and of its answers: how the file is written does not count."""
    asked = ([conversation_key(item["messages"]), item["answer"]] for item in suite_items(config))
    return digest_of(sorted(asked))


def suite_file_digest(config: Config) -> str:
    """sha256 of the suite's file."""
    return sha256_of(_path(config))


def suite_items(config: Config) -> list[Item]:
    """Items with `id`, `messages`, `answer` (spelled as the task's label) and the slices.

    Raises InputError without a file, without an item, and for an item that cannot be used.
    """
    path = _path(config)
    if not config.task.labels:
        raise InputError(
            "task.labels is empty, so no answer can be chosen.", "List the allowed answers there."
        )
    spelling = {normalise(label): label for label in config.task.labels}
    lines = list(lines_of(path))
    items = [_item(path, line, spelling) for line in lines]
    if not items:
        raise InputError(f"The evaluation suite {path} has no items.", "Write one item a line.")
    _refuse_repeats(path, lines, items)
    return items


def check_suite(config: Config, render: Callable[[Sequence[dict[str, Any]]], Any]) -> list[Item]:
    """The items, each tried with `render`. Raises InputError for one that the base model cannot be asked."""
    path, items = _path(config), suite_items(config)
    for line, item in zip(lines_of(path), items, strict=True):
        try:
            render(item["messages"])
        except InputError as error:
            why = error.problem[:1].lower() + error.problem[1:]
            raise InputError(
                f"{line.place} of the evaluation suite {path} cannot be asked: {why}", error.remedy
            ) from error
    return items


def _item(path: Path, line: Line, spelling: dict[str, str]) -> Item:
    try:
        messages = _messages(line.values)
        answer = _answer(line.values.get("answer"), spelling)
        messages = _without_answer(messages, answer)
    except ValueError as error:
        raise InputError(
            f"{line.place} of the evaluation suite {path} cannot be used: {error}.",
            "Correct that item, or remove it.",
        ) from None
    slices = {name: str(line.values.get(name) or EVERY) for name in SLICES}
    name = str(line.values.get("id") or f"item-{conversation_key(messages)[:12]}")
    return {**line.values, **slices, "id": name, "messages": messages, "answer": answer}


def _without_answer(messages: list[dict[str, Any]], answer: str) -> list[dict[str, Any]]:
    """The conversation up to where the answer begins. Raises ValueError where it ends in another one."""
    if messages[-1]["role"] != "assistant":
        return messages
    if normalise(messages[-1]["content"]) != normalise(answer):
        raise ValueError("its messages end in an assistant turn that is not its answer")
    return messages[:-1]


def _messages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        turns = as_messages(values.get("messages"))
    except UnfitMessages as unfit:
        raise ValueError(f"{unfit.reason} {unfit.found}".strip()) from None
    if not turns:
        raise ValueError("it has no messages")
    messages = normalise_messages(turns)
    if uses_tools({**values, "messages": messages}):
        raise ValueError("it holds tools, which the task has no place for")
    if not last_question(messages).strip():
        raise ValueError("no user asks anything in it")
    return messages


def _answer(found: Any, spelling: dict[str, str]) -> str:
    if not isinstance(found, str) or not found.strip():
        raise ValueError("it has no answer")
    if spelling and normalise(found) not in spelling:
        raise ValueError(f"its answer {found!r} is none of task.labels ({', '.join(spelling.values())})")
    return spelling.get(normalise(found), found.strip())


def _refuse_repeats(path: Path, lines: Sequence[Line], items: Sequence[Item]) -> None:
    first: dict[str, Line] = {}
    for line, item in zip(lines, items, strict=True):
        known = first.setdefault(conversation_key(item["messages"]), line)
        if known is not line:
            raise InputError(
                f"{known.place} and {line.place.lower()} of the evaluation suite {path} ask the same.",
                "Remove one of them: an item counts once.",
            )


def _path(config: Config) -> Path:
    path = Path(config.path(config.evaluate.suite))
    if not path.is_file():
        raise InputError(
            f"There is no evaluation suite at {path}.",
            "Run `nightshift prepare` for the sample's, or point evaluate.suite to your own file of items.",
        )
    return path
