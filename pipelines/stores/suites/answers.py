"""Whether a person's text is an answer of the task, without the libraries that models need.

`pipelines.evaluation.tasks` reads answers when the suite is used. A test holds the two together.
"""

from __future__ import annotations

import json
from typing import Any

from pipelines.core.config.model import Task
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
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        value = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return "it is not JSON"
    try:
        error = next(validator_for(schema)(schema, registry=Registry()).iter_errors(value), None)
    except Unresolvable as unknown:
        return f"the schema refers to {unknown}, which it does not hold"
    return error.message[:200] if error else ""


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(name)
