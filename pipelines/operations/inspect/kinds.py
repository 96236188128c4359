"""Whether the values of a column are what its name promises. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.core.interactions import ROUTES
from pipelines.data.reader import cells
from pipelines.data.reader.cells import Unfit
from pipelines.data.reader.mapping import ABSENT, at, opened
from pipelines.data.reader.times import as_time
from pipelines.operations.inspect.scales import opinions_in

Rows = Sequence[Mapping[str, Any]]
TRIED = 200  # values that are read
ENOUGH = 0.5  # of the values of a column must be of the kind that its name promises
STRICT = {"locale": 0.9, "route": 0.9, "opt_out": 0.9}
UNIQUE = 0.9  # of the values of a request_id differ
FEW = 20  # values say nothing about how often one repeats
OLDEST = 2010  # there is no log of a language model from before
LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
TIMES = "ISO 8601, such as 2026-01-03T08:00:00Z, or seconds or milliseconds since 1970"
_WANTED = {
    "ts": f"a plausible time: write {TIMES}. Rows without ts get noon of the night",
    "feedback_ts": f"a plausible time: write {TIMES}",
    "locale": "a language tag such as en-GB",
    "opt_out": "true or false",
    "route": f"one of {', '.join(ROUTES)}",
    "tokens_in": "a number",
    "tokens_out": "a number",
    "latency_ms": "a number of milliseconds",
    "tools": "a list of tools",
}


def filled(name: str, rows: Rows) -> list[Any]:
    """The values of a column that has them."""
    found = (at(row, name) for row in rows)
    return [value for value in found if value is not ABSENT and not _is_blank(value)]


def misfit_of(ours: str, name: str, rows: Rows, is_vague: bool) -> str | None:
    """Why a column is not ours, as the end of a sentence ("": not worth telling); None if it fits."""
    values = filled(name, rows)
    if not values:
        return None
    if ours == "rating":
        return None if opinions_in(values, is_vague) else _no_ratings(name, values)
    tried = values[:TRIED]
    bad = [value for value in tried if not is_of_its_kind(ours, value)]
    if len(tried) - len(bad) < STRICT.get(ours, ENOUGH) * len(tried):
        return f"{shown(bad[0])}, which is not {_WANTED[ours]}" if ours in _WANTED else ""
    return _repeats(ours, values, rows)


def _no_ratings(name: str, values: Sequence[Any]) -> str:
    if isinstance(values[0], list | Mapping):
        return ""
    told = ", ".join(value for value, _ in Counter(map(shown, values)).most_common(3))
    return (
        f"{told}, which are not taken for ratings. If users gave them, write rating = "
        f"{json.dumps(name)} under "
        "[ingest.columns], and under [ingest.rating] good, bad and neutral, or good_from and bad_to"
    )


def shown(value: Any) -> str:
    """A value in quotes, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= cells.SHOWN else f"{text[: cells.SHOWN]}..."


def is_of_its_kind(ours: str, value: Any) -> bool:
    """Whether one value is what our column holds."""
    match ours:
        case "messages" | "tools":
            return isinstance(opened(value), list)
        case "prompt" | "completion" | "correction":
            return isinstance(value, str) and not _is_chat(opened(value))
        case "opt_out":
            return _reads(cells.as_bool, value)
        case "ts" | "feedback_ts":
            return _reads(_plausible_time, value)
        case "tokens_in" | "tokens_out" | "latency_ms":
            return _reads(cells.as_number, value)
        case "locale":
            return isinstance(value, str) and bool(LANGUAGE.fullmatch(value.strip()))
        case "route":
            return value in ROUTES
    return _is_name(value, 64 if ours == "channel" else 200)


def _repeats(ours: str, values: Sequence[Any], rows: Rows) -> str | None:
    """Why values that repeat too often, or never, are not these."""
    if ours not in ("request_id", "tenant", "channel") or len(values) < 2:
        return None
    distinct, once = len({str(value) for value in values}), len(values)
    if ours == "request_id" and distinct < UNIQUE * once:  # exact copies of whole rows do not count
        once = max(1, once - len(rows) + len({json.dumps(row, sort_keys=True, default=str) for row in rows}))
    if ours == "request_id" and distinct < UNIQUE * once:
        return (
            f"only {distinct:,} different values in {len(values):,} rows, so it is no request_id: "
            "each answer "
            "needs its own"
        )
    if ours != "request_id" and len(values) >= FEW and distinct > ENOUGH * once:
        return f"another value in nearly every row, so it is no {ours}"
    return None


def _is_name(value: Any, most: int) -> bool:
    """Whether it is short, as an id or a name is, and no sentence."""
    if not _reads(cells.as_id, value):
        return False
    text = str(value)
    return len(text) <= most and "\n" not in text and len(text.split()) <= 5 and not text.endswith(("?", "."))


def _is_chat(value: Any) -> bool:
    """Whether it is a list of turns, or an object around some, and no answer in JSON."""
    if isinstance(value, Mapping):
        return bool({"choices", "messages", "output", "content", "role", "tool_calls"} & value.keys())
    return isinstance(value, list) and any(isinstance(one, Mapping) and _is_chat(one) for one in value)


def _plausible_time(value: Any) -> datetime | None:
    moment = as_time(value, UTC)
    if moment is not None and moment.year < OLDEST:
        raise Unfit("an old time")
    return moment


def _reads(read: Callable[[Any], Any], value: Any) -> bool:
    try:
        read(value)
    except Unfit:
        return False
    return True


def _is_blank(value: Any) -> bool:
    return cells.is_missing(value) or (isinstance(value, str) and not value.strip())
