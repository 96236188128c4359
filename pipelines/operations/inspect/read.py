"""Which settings read a log best: its format and its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipelines.core.config import Config, Register
from pipelines.core.config.data import Ingest
from pipelines.data.reader.mapping import ABSENT, at
from pipelines.data.reader.raw import Raw
from pipelines.data.row_reader import RowReader
from pipelines.data.typed import Seen
from pipelines.operations.inspect import names as known
from pipelines.operations.inspect.asked import add_asked
from pipelines.operations.inspect.formats import marked_forms
from pipelines.operations.inspect.kinds import Rows
from pipelines.operations.inspect.paths import paths_in
from pipelines.operations.inspect.scales import Scale, scale_of

FORMATS = ("nightshift", "openai", "sharegpt", "langfuse", "litellm")
TRIED = 200  # rows that are read in every format, to find the one that reads the most
SOME_DAY = date(2000, 1, 1)
BESIDES = ("tenant", "subject_id", "conversation_id", "channel")
UNKNOWN = ("rating", "correction", "locale")  # what a format cannot know
NEARLY = 0.9


@dataclass
class Guess:
    """The settings of `[ingest]`, the ratings, and columns whose values do not fit their name."""

    settings: dict[str, Any]
    scale: Scale
    rating: str  # the column
    has_ratings: bool
    misfits: dict[str, str] = field(default_factory=dict)
    is_searched: bool = False  # the conversation was found by a search


def reader_of(settings: Mapping[str, Any], night: date) -> RowReader:
    """The rules of a night with these settings of `[ingest]`."""
    config = Config(profile="inspect", ingest=Ingest(**settings), register=Register(name="inspect"))
    return RowReader(config, night)


def guessed(names: Sequence[str], seen: Seen, raws: Sequence[Raw], rows: Rows) -> Guess:
    """The settings of `[ingest]` that read the most of these rows."""
    columns, misfits = known.columns_of(names, rows)
    tried: dict[str, dict[str, Any]] = {"nightshift": {"columns": columns}} | {
        form: {"format": form, "columns": {name: columns[name] for name in UNKNOWN if name in columns}}
        for form in FORMATS[1:]
    }
    usable = {form: _usable(raws[:TRIED], settings) for form, settings in tried.items()}
    form = _best(usable, rows)
    chosen, is_searched = tried[form], False
    if 2 * usable[form][0] < len(raws[:TRIED]):
        chosen, is_searched = _searched(raws, rows, columns, chosen, usable[form])
    elif form != "nightshift":
        chosen["columns"] |= _besides(raws[:TRIED], chosen, columns)
    settings = {key: value for key, value in chosen.items() if value}
    add_asked(settings, seen, rows, misfits)
    rating = settings.get("columns", {}).get("rating", "rating")
    values = [value for row in rows if (value := at(row, rating)) is not ABSENT and value is not None]
    scale = scale_of(values, rating)
    if scale.settings:
        settings["rating"] = scale.settings
    return Guess(settings, scale, rating, bool(values), misfits, is_searched)


def _best(usable: Mapping[str, tuple[int, int]], rows: Rows) -> str:
    """The form whose own keys the rows have, if it reads nearly the most of them; else the one that does."""
    most = max(whole for whole, _ in usable.values())
    marked = [form for form in marked_forms(rows[:TRIED]) if usable[form][0] >= NEARLY * most > 0]
    return (
        marked[0]
        if marked
        else max(FORMATS, key=lambda name: (usable[name][0], name == "nightshift", usable[name][1]))
    )


def _searched(
    raws: Sequence[Raw],
    rows: Rows,
    columns: Mapping[str, str],
    chosen: dict[str, Any],
    usable: tuple[int, int],
) -> tuple[dict[str, Any], bool]:
    """The columns of our own names that read more rows, with a conversation from deep inside."""
    best, most = chosen, usable[0]
    rest = {
        ours: theirs for ours, theirs in columns.items() if ours not in ("messages", "prompt", "completion")
    }
    turns, questions, answers = paths_in(rows[:TRIED])
    asked = [("messages", path) for path in turns] + [("prompt", path) for path in questions]
    for ours, path in asked:
        for answer in [*answers, ""]:
            mapping = rest | {ours: path} | ({"completion": answer} if answer and answer != path else {})
            settings = {"columns": mapping}
            if (whole := _usable(raws[:TRIED], settings)[0]) > most:
                best, most = settings, whole
    return best, best is not chosen


def _besides(raws: Sequence[Raw], settings: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str]:
    """What users put into a format's own fields, such as metadata.tenant, where the format finds nothing."""
    reader = reader_of(settings, SOME_DAY)
    found = {name for raw in raws for name, value in reader.read(raw).cells.items() if value is not None}
    missing = [name for name in BESIDES if name in columns and "." in columns[name]]
    return {name: columns[name] for name in missing if name not in found or name in reader.defaulted}


def _usable(raws: Sequence[Raw], settings: Mapping[str, Any]) -> tuple[int, int]:
    """How many rows have messages and an answer, and how many values a format finds besides."""
    reader = reader_of(settings, SOME_DAY)
    rows = [reader.read(raw) for raw in raws]
    whole = [
        row
        for row in rows
        if not row.is_chat or (row.cells.get("messages") and row.cells.get("completion") is not None)
    ]
    names = ("request_id", "subject_id", "conversation_id", "tokens_in")
    return len(whole), sum(row.cells.get(name) is not None for row in whole for name in names)
