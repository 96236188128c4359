"""Where a conversation lies inside a row of an unknown export. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.data.reader.mapping import opened

DEPTH = 7
LOOKED_AT = 20  # rows
MOST = 6  # paths of each kind
MOST_TEXT = 1 << 18  # characters of a text of JSON that is opened
ANSWER = re.compile(
    r"(choices\.0\.(message\.content|text)|generations\.0(\.0)?\.text|(^|\.)output\.content"
    r"|outputs?\.(output|text|content|answer|completion|response|result)|(^|\.)(completion|answer|response|output))$",
    re.IGNORECASE,
)
QUESTION = re.compile(r"(^|\.)(prompt|question|query|input|user_?input|text)$", re.IGNORECASE)


def paths_in(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str], list[str]]:
    """Dotted paths to lists of turns, to questions and to answers, in the order of their appearance."""
    turns: dict[str, None] = {}
    questions: dict[str, None] = {}
    answers: dict[str, None] = {}
    for row in rows[:LOOKED_AT]:
        for path, value in _walk(row, "", DEPTH):
            if _are_turns(value):
                turns[path] = None
            elif isinstance(value, str) and value.strip() and ANSWER.search(path):
                answers[path] = None
            elif isinstance(value, str) and value.strip() and QUESTION.search(path):
                questions[path] = None
    return [*turns][:MOST], [*questions][:MOST], [*answers][:MOST]


def _are_turns(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, Mapping) and "role" in one for one in value)
    )


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Every value inside, texts of JSON opened, and what a list holds first."""
    inner = opened(value) if isinstance(value, str) and len(value) <= MOST_TEXT else value
    if path:
        yield path, inner
    if not depth:
        return
    below = f"{path}." if path else ""
    if isinstance(inner, Mapping):
        for key, one in inner.items():
            if "." not in key:
                yield from _walk(one, f"{below}{key}", depth - 1)
    elif isinstance(inner, list) and inner and not _are_turns(inner):
        yield from _walk(inner[0], f"{below}0", depth - 1)
