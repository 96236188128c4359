"""Whether a person's text is an answer of the task, without the libraries that models need.

`pipelines.evaluation.tasks` reads answers when the suite is used. A test holds the two together.
"""

from __future__ import annotations

from typing import Any

from pipelines.core.config.model import Task
from pipelines.core.json_texts import NotJson, json_of
from pipelines.core.spelling import answer_form


def refusal(task: Task, text: str) -> str:
    """Why a text is no answer, as the end of a sentence that begins with "The answer". Empty: it is one."""
    if not text.strip():
        return "is blank"
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        return "holds half a character"
    if task.kind == "choose" and task.labels and answer_form(text) not in map(answer_form, task.labels):
        return f"is none of task.labels ({', '.join(task.labels)})"
    if task.kind == "extract" and (wrong := _fault_of_json(task.json_schema, text)):
        return f"does not follow task.json_schema: {wrong}"
    return ""


def _fault_of_json(schema: dict[str, Any], text: str) -> str:
    from pipelines.core.json_schema import Schema  # it loads jsonschema, which few profiles need

    try:
        return Schema(schema).fault(json_of(text))
    except NotJson as wrong:
        return f"it {wrong}"
