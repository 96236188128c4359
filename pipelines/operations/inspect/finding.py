"""What an inspection finds: plain data, as `--json` prints it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any


@dataclass
class FoundColumn:
    """A column as the file has it; `example` is a shortened value."""

    name: str
    kind: str
    filled: float  # share of the rows with a value
    example: str


@dataclass
class LookedAt:
    """One file: what it is, and its first rows."""

    file: str
    kind: str
    size_bytes: int
    packing: str | None
    encoding: str | None
    separator: str | None
    rows: int  # that were read
    is_whole: bool  # false: the file has more rows
    unreadable: dict[str, int]  # reason -> rows
    columns: list[FoundColumn]
    more_columns: int = 0  # that were not looked at
    files: int = 1  # of the folder or pattern; the first is looked at
    source: str = ""  # what the profile reads


@dataclass
class MappedColumn:
    """Our column, where it comes from, and what stands where a row has no value."""

    ours: str
    theirs: str
    filled: float
    default: str


@dataclass
class Refusal:
    """Why rows would not be kept, and an example of what is there."""

    reason: str
    rows: int
    example: str
    is_chat: bool = True  # false: no answer of a model, which is left out and does not count as refused


@dataclass
class Sizes:
    """Settings for the lengths of this log, in tokens (estimates), and what share is longer."""

    prompt: int
    answer: int
    too_long: float


@dataclass
class FeedbackLook:
    """A separate file of feedback."""

    looked_at: LookedAt
    columns: dict[str, str]
    matched: int  # requests of the log that it has feedback for
    requests: int  # requests that it names
    refused: dict[str, int]
    ratings: dict[str, int]  # like, dislike, neither, correction


@dataclass
class Inspection:
    """Everything about one log."""

    looked_at: LookedAt
    format: str
    settings: dict[str, Any]  # of [ingest], as the profile has them
    mapping: list[MappedColumn]
    held: list[str]  # why ingest would hold the night; none: it would not
    kept: int  # by ingest
    copies: int
    clashes: int  # rows with the request_id of another row, and another content
    opted_out: int
    refused: list[Refusal]  # by ingest
    invalid: list[Refusal]  # of the kept rows, by validate
    ratings: dict[str, int]  # like, dislike, neither, correction
    first: str | None  # the earliest and latest time
    last: str | None
    night: date
    has_zone: bool | None  # None: no times
    labels: dict[str, int]  # distinct answers, where they are few
    system_prompt: str  # that (nearly) all rows have; "" where there is none
    sizes: Sizes
    doubts: list[str] = field(default_factory=list)  # tables of [ingest] that are a guess
    feedback: FeedbackLook | None = None
    hints: list[str] = field(default_factory=list)
    profile: str = ""
