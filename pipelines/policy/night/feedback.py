"""What users' feedback means: labels, and which labelled questions are kept back for evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipelines.core.conversations import (
    Message,
    conversation_key,
    last_question,
    lone_question,
    normalise,
    with_system,
)
from pipelines.core.tools import with_tools

Read = Callable[[str], str | None]  # a text as an answer of the task; None: it is no answer of the task

# The columns of an interaction that `labelled` and `holdout_items` read.
COLUMNS = [
    "request_id", "ts", "tenant", "subject_id", "messages", "completion", "rating", "correction", "locale",
    "channel", "tools",
]  # fmt: skip


def label_of(rating: int | None, correction: str | None, completion: str) -> str | None:
    """The right answer, as far as the user told it: the correction, else a liked completion, else None."""
    if correction and correction.strip():
        return correction.strip()
    return completion.strip() or None if rating == 1 else None


def is_holdout(messages: Sequence[Message], share: float, system_prompt: str = "") -> bool:
    """Whether a conversation is kept back from training, for good: by a hash of all that the model saw.

    `system_prompt`, the task's, is the same for all and does not count. A conversation that returns on
    another night therefore falls on the same side.
    """
    lone = lone_question(messages, system_prompt)
    key = conversation_key(messages) if lone is None else hashlib.sha256(normalise(lone).encode()).hexdigest()
    return int(key[:16], 16) < share * 2**64


def is_kept_back(tenant: str, person: str, share: float) -> bool:
    """Whether a person's rows are kept back from training, for good: by a hash of tenant and person."""
    key = hashlib.sha256(json.dumps([tenant, person]).encode()).hexdigest()
    return int(key[:16], 16) < share * 2**64


def as_written(text: str) -> str | None:
    """Any text is an answer."""
    return text


def labelled(
    rows: Iterable[Mapping[str, Any]], read: Read = as_written, system_prompt: str = ""
) -> list[dict[str, Any]]:
    """Interactions (with `COLUMNS`) that carry a label, each with `key` (its identity) and `answer` added.

    Their messages are in one form, with the task's system prompt and the tools that were offered. Their
    answer is as `read` returns it. A row whose label is no answer of the task is not labelled.
    """
    found = []
    for row in rows:
        label = label_of(row["rating"], row["correction"], row["completion"])
        answer = None if label is None else read(label)
        if answer is not None and last_question(row["messages"]):
            messages = with_tools(with_system(row["messages"], system_prompt), row.get("tools"))
            key = conversation_key(messages)
            found.append({**row, "messages": messages, "key": key, "answer": answer})
    return found


def disliked(
    rows: Iterable[Mapping[str, Any]], read: Read = as_written, system_prompt: str = ""
) -> list[dict[str, Any]]:
    """Interactions (with `COLUMNS`) that were disliked without correction, in the form of `labelled`.

    Their `answer` is None: nobody told the right one. `wrong` is the answer that was disliked.
    """
    found = []
    for row in rows:
        label = label_of(row["rating"], row["correction"], row["completion"])
        if label is None and row["rating"] == -1 and last_question(row["messages"]):
            messages = with_tools(with_system(row["messages"], system_prompt), row.get("tools"))
            said = row["completion"].strip()
            told = {"answer": None, "wrong": read(said) or said}
            key = conversation_key(messages)
            found.append({**row, "messages": messages, "key": key, **told})
    return found


def latest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One labelled row for each conversation, the latest; sorted by ts, request_id."""
    ordered = sorted(rows, key=lambda row: (row["ts"], row["request_id"]))
    by_key = {row["key"]: row for row in ordered}
    return sorted(by_key.values(), key=lambda row: (row["ts"], row["request_id"]))


def holdout_items(
    rows: Iterable[Mapping[str, Any]], share: float, read: Read = as_written, system_prompt: str = ""
) -> list[dict[str, Any]]:
    """The kept-back rated rows of a log in the shape of a suite's items; none of them was ever trained on.

    Each is {"id", "subject", "messages", "answer", "wrong", "tenant", "person", "locale", "channel"};
    `messages` end with the question, and `subject` is the answer, which is all that a log knows of the
    subject. Where people told no right answer, `answer` is None and `wrong` the one that they disliked; else
    `wrong` is None.
    `person`, the tenant and the person who asked, is to count people by, and never to be stored.
    """
    rows = list(rows)
    known = latest(labelled(rows, read, system_prompt))
    told = {row["key"] for row in known}
    open_ = [row for row in latest(disliked(rows, read, system_prompt)) if row["key"] not in told]
    kept = [row for row in [*known, *open_] if is_holdout(row["messages"], share, system_prompt)]
    return [
        {
            "id": row["request_id"],
            "subject": row["answer"],
            "messages": [dict(message) for message in row["messages"]],
            "answer": row["answer"],
            "wrong": row.get("wrong"),
            "tenant": row["tenant"],
            "person": (row["tenant"], row["subject_id"]),
            "locale": row["locale"],
            "channel": row["channel"],
        }
        for row in kept
    ]
