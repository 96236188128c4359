"""One row as a file holds it, before its values are read."""

from __future__ import annotations

from typing import Any, NamedTuple


class Raw(NamedTuple):
    """`values` is None where the row cannot be read; `problem` says why, `found` shows it.

    `text` is the row as the file holds it, where that is text.
    """

    values: dict[str, Any] | None
    problem: str | None = None
    found: str = ""
    text: str = ""
