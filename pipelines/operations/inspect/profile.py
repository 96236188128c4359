"""The profile to start from, as TOML."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pipelines.operations.inspect.finding import Inspection

PROMPT_TOKENS = 1_024
ORDER = ("format", "feedback", "timezone", "late_days")


def profile_of(found: Inspection, file: Path, name: str) -> str:
    """A complete profile. What it cannot know is marked with `change`."""
    return "\n".join([*_head(found, name), *_task(found), *_ingest(found, file), *_limits(found)]) + "\n"


def _head(found: Inspection, name: str) -> list[str]:
    looked_at = found.looked_at
    rows = f"{looked_at.rows} rows" if looked_at.is_whole else f"its first {looked_at.rows} rows"
    return [
        f"# Made by `nightshift inspect` from {Path(looked_at.file).name} ({rows}).",
        "# Look at the lines that say CHANGE.",
        f"profile = {_toml(name)}",
        'schedule = ""  # cron in UTC, such as "0 2 * * *"; empty: nights start by hand',
        "",
        "[model]",
        'base = "HuggingFaceTB/SmolLM2-135M-Instruct"  # CHANGE: the model that answered',
        f"max_prompt_tokens = {PROMPT_TOKENS}",
        f"max_new_tokens = {_new_tokens(found)}",
        "",
    ]


def _task(found: Inspection) -> list[str]:
    prompt = next(iter(found.system_prompts), "")
    labels = f"labels = {_toml([*found.labels])}"
    if not found.labels:
        labels = (
            '# labels = ["first", "second"]  # CHANGE: the allowed answers; nights cannot judge free text yet'
        )
    return [
        "[task]",
        f"name = {_toml(_task_name(found))}  # CHANGE: recorded with each training",
        f"system_prompt = {_toml(prompt)}",
        labels,
        "",
    ]


def _ingest(found: Inspection, file: Path) -> list[str]:
    settings = found.settings
    lines = [
        "[ingest]",
        'kind = "files"',
        f"source = {_toml(str(file.resolve()))}  # or a pattern with {{night}}",
    ]
    lines += [f"{key} = {_toml(settings[key])}" for key in ORDER if key in settings]
    if found.has_zone is False:
        lines.append('timezone = "UTC"  # CHANGE: the times in the log name no zone')
    for table in ("columns", "rating", "feedback_columns"):
        if settings.get(table):
            lines += [
                "",
                f"[ingest.{table}]",
                *(f"{_key(key)} = {_toml(one)}" for key, one in settings[table].items()),
            ]
    return [*lines, ""]


def _limits(found: Inspection) -> list[str]:
    labelled = found.ratings["like"] + found.ratings["correction"]
    if found.feedback:
        labelled += found.feedback.ratings["like"] + found.feedback.ratings["correction"]
    return [
        "[validate]",
        f"min_rows = {min(500, max(1, found.kept // 2))}  # fewer: the rows are kept, and the night waits",
        "",
        "[decide]",
        f"min_corrections = {min(300, max(20, labelled // 2))}  # labelled rows that are worth a training",
        "",
        "[train]",
        f"max_length_tokens = {PROMPT_TOKENS + 2 * _new_tokens(found)}  # a prompt and its answer",
        "",
        "[evaluate]",
        'suite = "{home}/suite.jsonl"  # nightshift suite propose writes one from the log',
        "",
        "[register]",
        f"name = {_toml(_task_name(found))}  # CHANGE: the model's name in MLflow",
    ]


def _new_tokens(found: Inspection) -> int:
    return 8 if found.labels else 256


def _task_name(found: Inspection) -> str:
    stem = Path(found.looked_at.file).name.partition(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "my-task"


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    """A TOML value; JSON's texts, numbers and lists are TOML's too, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
