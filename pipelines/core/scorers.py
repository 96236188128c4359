"""The names of the scorers that may grade an answer, and which of them a kind of task starts with."""

from __future__ import annotations

from collections.abc import Iterable

SCORERS = (
    "exact", "normalised", "numeric", "token_f1", "rouge_l", "chrf", "embedding", "valid_json", "schema",
    "field_f1", "tool_calls",
)  # fmt: skip
OWN = "python:"  # begins the name of a person's own function
_DEFAULTS = {
    "choose": ("exact",),
    "extract": ("field_f1", "exact"),
    "generate": ("chrf", "rouge_l", "token_f1"),
}


def default_scorers(kind: str) -> tuple[str, ...]:
    """The scorers of a kind of task, the primary one first."""
    return _DEFAULTS[kind]


def unknown_scorers(names: Iterable[str]) -> list[str]:
    """Those that are neither a scorer's name nor that of a person's own function."""
    return [name for name in names if name not in SCORERS and not name.startswith(OWN)]


def known_scorers() -> str:
    """What may be named, in words."""
    return f"{', '.join(SCORERS)}, or {OWN}package.module:function"
