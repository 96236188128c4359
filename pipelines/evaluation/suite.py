"""The frozen evaluation suite: items that are asked night after night and never trained on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.conversations import conversation_key, last_question, normalise_messages
from pipelines.core.errors import InputError
from pipelines.core.files import sha256_of
from pipelines.core.spelling import answer_form
from pipelines.core.tools import apart, turn_text, with_tools
from pipelines.data.reader.cells import Unfit, as_name, kind_of, shown
from pipelines.data.reader.strict_json import as_tools
from pipelines.data.reader.turns import UnfitMessages, as_messages
from pipelines.evaluation.suite_faults import Fault, Seen, refusal
from pipelines.evaluation.suite_file import Line, lines_of
from pipelines.evaluation.suite_place import suite_file
from pipelines.evaluation.tasks import Task, task_of

Item = dict[str, Any]
SLICES = ("subject", "tenant", "locale", "channel")
EVERY = "all"  # the value of a slice that an item does not name


def suite_digest(config: Config) -> str:
    """sha256 of what the suite asks and of its answers: how the file is written does not count."""
    return digest_of_items(suite_items(config))


def digest_of_items(items: Iterable[Mapping[str, Any]]) -> str:
    """The digest of the suite that these items make."""
    return digest_of(sorted([conversation_key(item["messages"]), item["answer"]] for item in items))


def line_of(item: Mapping[str, Any]) -> str:
    """An item as a line of a suite's file: the tools that it offers stand beside its messages."""
    tools, messages = apart(item["messages"])
    written = {**item, "messages": messages} | ({"tools": json.loads(tools)} if tools else {})
    return json.dumps(written, ensure_ascii=False) + "\n"


def suite_file_digest(config: Config) -> str:
    """sha256 of the suite's file."""
    return sha256_of(suite_file(config))


def suite_items(config: Config) -> list[Item]:
    """Items with `id`, `messages`, `answer` (spelled as the task's label) and the slices.

    Raises InputError without a file, without an item, and for items that cannot be used, with all of them.
    """
    return check_suite(config, lambda messages: None)


def check_suite(config: Config, render: Callable[[Sequence[dict[str, Any]]], Any]) -> list[Item]:
    """The items, each tried with `render`. Raises InputError also for those that cannot be asked."""
    return items_in(config, suite_file(config), render)


def items_in(
    config: Config,
    path: Path,
    render: Callable[[Sequence[dict[str, Any]]], Any],
    what: str = "evaluation suite",
) -> list[Item]:
    """The items of a file, which is a suite or is written like one (`what`, for errors)."""
    task = task_of(config)
    task.check_settings()
    items, faults, seen = [], [], Seen({}, {})
    for line in lines_of(path, what):
        try:
            item = _item(line, task)
            fault = seen.fault(line.place, item) or _unasked(line.place, item, render)
        except ValueError as error:
            verb = "read" if line.problem else "used"
            fault = Fault(line.place, f"cannot be {verb}: {error}", "Correct that item, or remove it.")
        if fault:
            faults.append(fault)
        else:
            items.append(item)
    if faults:
        raise refusal(f"{what} {path}", faults)
    if not items:
        raise InputError(f"The {what} {path} has no items.", "Write one item a line.")
    return items


def _unasked(place: str, item: Item, render: Callable[[Sequence[dict[str, Any]]], Any]) -> Fault | None:
    try:
        render(item["messages"])
    except InputError as error:
        why = error.problem[:1].lower() + error.problem[1:].rstrip(".")
        return Fault(place, f"cannot be asked: {why}", error.remedy)
    return None


def _item(line: Line, task: Task) -> Item:
    """Raises ValueError for an item that cannot be used."""
    if line.problem:
        raise ValueError(line.problem)
    values = {name: value for name, value in line.values.items() if name != "tools"}
    messages, answer = _messages(line.values), _answer(line.values, task)
    messages = _without_answer(messages, answer, task)
    slices = {name: _name_in(values, name) or EVERY for name in SLICES}
    name = _name_in(values, "id") or f"item-{conversation_key(messages)[:12]}"
    return {**values, **slices, "id": name, "messages": messages, "answer": answer}


def _name_in(values: Mapping[str, Any], column: str) -> str | None:
    """A short text in a column; numbers and true or false become text. None where there is nothing."""
    value = values.get(column)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value) and value != int(value):
        return str(value)
    try:
        return as_name(value)
    except Unfit as unfit:
        raise ValueError(f"its {column} is {unfit.what}") from None


def _without_answer(messages: list[dict[str, Any]], answer: str, task: Task) -> list[dict[str, Any]]:
    """The conversation up to where the answer begins. Raises ValueError where it ends in another one."""
    if messages[-1]["role"] != "assistant":
        return messages
    said = turn_text(messages[-1])
    same = task.form(task.read(said) or said) == task.form(answer)
    if not same and answer_form(said) != answer_form(answer):
        raise ValueError("its messages end in an assistant turn that is not its answer")
    return messages[:-1]


def _messages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        turns = as_messages(values.get("messages"))
    except UnfitMessages as unfit:
        raise ValueError(f"{unfit.reason} {unfit.found}".strip()) from None
    if not turns:
        there = f" (its columns are {', '.join(values)})" if "messages" not in values else ""
        raise ValueError(f"it has no messages{there}")
    messages = with_tools(normalise_messages(turns), _tools(values))
    if not last_question(messages).strip():
        raise ValueError("no user asks anything in it")
    return messages


def _tools(values: Mapping[str, Any]) -> str | None:
    try:
        return as_tools(values.get("tools") or None)
    except Unfit as unfit:
        raise ValueError(f"its tools are {unfit.what} and not a list") from None


def _answer(values: Mapping[str, Any], task: Task) -> str:
    found = values.get("answer")
    try:
        text = task.text_of(found)
    except Unfit:
        text = None
    if text is None:
        raise ValueError(f"it has no answer ({_there(values)})")
    answer = task.read(text)
    if answer is None:
        raise ValueError(f"its answer {text[:60]!r} {task.refusal(text)}")
    return answer


def _there(values: Mapping[str, Any]) -> str:
    if "answer" not in values:
        return f"its columns are {', '.join(values)}"
    found = values["answer"]
    return "it is blank" if isinstance(found, str) else f"it is {kind_of(found)}: {shown(found)}"
