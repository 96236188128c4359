"""The profile to start from, as TOML."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.operations.inspect.finding import Inspection
from pipelines.operations.inspect.printable import as_toml, printable
from pipelines.policy.night.preferences import learnable, objective_tonight

ORDER = ("format", "encoding", "ignore", "feedback", "timezone", "late_days")


def profile_of(found: Inspection, name: str) -> str:
    """A complete profile. What it cannot know is marked with `change`."""
    return "\n".join([*_head(found, name), *_task(found), *_ingest(found), *_limits(found)]) + "\n"


def _head(found: Inspection, name: str) -> list[str]:
    looked_at = found.looked_at
    rows = f"{looked_at.rows} rows" if looked_at.is_whole else f"its first {looked_at.rows} rows"
    return [
        f"# Made by `nightshift inspect` from {printable(Path(looked_at.file).name)} ({rows}).",
        "# Look at the lines that say CHANGE.",
        f"profile = {as_toml(name)}",
        'schedule = ""  # cron in UTC, such as "0 2 * * *"; empty: nights start by hand',
        "",
        "[model]",
        'base = "HuggingFaceTB/SmolLM2-135M-Instruct"  # CHANGE: the model that answered',
        f"max_prompt_tokens = {found.sizes.prompt}",
        f"max_new_tokens = {found.sizes.answer}",
        "",
    ]


def _task(found: Inspection) -> list[str]:
    answers = ['kind = "choose"  # an answer is one of the labels', f"labels = {as_toml([*found.labels])}"]
    if not found.labels:
        answers = [
            'kind = "generate"  # an answer is free text; CHANGE it for labels, or for JSON by a schema'
        ]
    return [
        "[task]",
        f"name = {as_toml(_task_name(found))}  # CHANGE: recorded with each training",
        f"system_prompt = {as_toml(found.system_prompt)}",
        *answers,
        "",
    ]


def _ingest(found: Inspection) -> list[str]:
    settings = found.settings
    lines = [
        "[ingest]",
        'kind = "files"',
        f"source = {as_toml(found.looked_at.source)}  # or a pattern with {{night}}",
    ]
    lines += [f"{key} = {as_toml(settings[key])}" for key in ORDER if key in settings]
    if found.has_zone is False:
        lines.append('timezone = "UTC"  # CHANGE: the times in the log name no zone')
    for table in ("columns", "rating", "feedback_columns", "feedback_rating"):
        if settings.get(table):
            lines += [
                "",
                f"[ingest.{table}]" + ("  # CHANGE: a guess, see the notes" if table in found.doubts else ""),
                *(f"{_key(key)} = {as_toml(one)}" for key, one in settings[table].items()),
            ]
    return [*lines, ""]


def _limits(found: Inspection) -> list[str]:
    counts = _feedback(found)
    objective, _ = objective_tonight("auto", counts)
    thumbs = (
        'objective = "auto"  # thumbs down count too: there are more of them than of likes and corrections'
    )
    return [
        "[validate]",
        f"min_rows = {min(500, max(1, (found.kept - sum(one.rows for one in found.invalid)) // 2))}  "
        "# fewer: the rows are kept, and the night waits",
        "",
        "[decide]",
        f"min_corrections = {min(300, max(20, learnable(counts, objective) // 2))}  "
        "# rows with feedback that are worth a training",
        "",
        "[train]",
        *([thumbs] if objective == "kto" else []),
        f"max_length_tokens = {found.sizes.prompt + found.sizes.answer}  # a prompt and its answer",
        "",
        "[evaluate]",
        'suite = "{home}/suite.jsonl"  # nightshift suite propose writes one from the log',
        "",
        "[register]",
        f"name = {as_toml(_task_name(found))}  # CHANGE: the model's name in MLflow",
    ]


def _feedback(found: Inspection) -> dict[str, int]:
    """Corrections, likes, and at least how many dislikes without a correction, separate feedback included."""
    told = [found.ratings, *([found.feedback.ratings] if found.feedback else [])]
    like, dislike, correction = (sum(one[name] for one in told) for name in ("like", "dislike", "correction"))
    return {"corrections": correction, "likes": like, "dislikes": max(0, dislike - correction)}


def _task_name(found: Inspection) -> str:
    stem = Path(found.looked_at.file).name.partition(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "my-task"


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else as_toml(name)
