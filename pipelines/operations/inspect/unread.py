"""Columns with text that nothing reads, which the model may have seen. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.data.reader.mapping import ABSENT, at
from pipelines.data.reader.raw import Raw
from pipelines.data.row_reader import RowReader
from pipelines.operations.inspect.names import plain

TRIED = 20  # rows in which a column is left out
SAMPLED = 500  # rows in which texts are counted
RARE = 0.01  # of the rows: fewer are not told
MOST_TOLD = 8
CONTEXT = re.compile(
    "input|context|system|instruction|document|passage|history|retriev|source|article|prompt|question|query|knowledge|"
    "message|example|background|text|content"
)


def unread_text(names: Sequence[str], raws: Sequence[Raw], reader: RowReader) -> list[str]:
    """Sentences on columns that hold text and are read by nothing, the most filled first."""
    rows = [raw.values for raw in raws[:: max(1, len(raws) // SAMPLED)] if raw.values]
    shares = {name: _text_share(name, rows) for name in names}
    texts = sorted((name for name in names if shares[name]), key=lambda name: -shares[name])
    outer = [name for name in texts if not any(name.startswith(f"{one}.") for one in texts if one != name)]
    unread = [name for name in outer if _is_unread(name, raws, reader)]
    seen = [name for name in unread if CONTEXT.search(plain(name))]
    hints = [
        f"Column {name} holds text in {shares[name]:.0%} of the rows, and nothing reads it. If the "
        "model saw it, join "
        "it into messages: otherwise the model is trained and judged on another prompt."
        for name in seen[:MOST_TOLD]
    ]
    others = [name for name in unread if name not in seen]
    if others:
        told = ", ".join(f"{name} ({shares[name]:.0%})" for name in others[:MOST_TOLD])
        more = f" and {len(others) - MOST_TOLD} more" if len(others) > MOST_TOLD else ""
        hints.append(
            f"Nothing reads these columns with text: {told}{more}. What the model saw belongs into messages."
        )
    return hints


def _text_share(name: str, rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of rows with words in this column; 0 where most of its values are ids or single words."""
    values = [
        value for row in rows if (value := at(row, name)) is not ABSENT and value not in (None, "", [], {})
    ]
    texts = [value for value in values if _has_words(value)]
    share = len(texts) / max(1, len(rows))
    return share if share >= RARE and 2 * len(texts) >= len(values) else 0.0


def _has_words(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_words, value[:3]))
    if isinstance(value, Mapping):
        return any(map(_has_words, list(value.values())[:9]))
    if not isinstance(value, str):
        return False
    return len(value.split()) >= 3 or (len(value) >= 12 and not value.isascii())


def _is_unread(name: str, raws: Sequence[Raw], reader: RowReader) -> bool:
    """Whether rows are read the same without this column."""
    rows = [raw for raw in raws if raw.values and _has_words(at(raw.values, name))][:TRIED]
    return all(
        reader.read(raw).cells == reader.read(Raw(_without(raw.values or {}, name))).cells for raw in rows
    )


def _without(row: Mapping[str, Any], path: str) -> dict[str, Any]:
    if path in row:
        return {key: value for key, value in row.items() if key != path}
    head, _, rest = path.partition(".")
    inner = row.get(head)
    return {**row, head: _without(inner, rest)} if isinstance(inner, Mapping) else dict(row)
