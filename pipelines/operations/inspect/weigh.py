"""What would become of the rows of a log, by the settings that read it best."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import INTERACTION
from pipelines.data.formats import converter_of
from pipelines.data.reader.cells import Unfit, is_missing, shown
from pipelines.data.reader.columns import unusable_columns
from pipelines.data.reader.mapping import mapped
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.text import NOT_UTF8
from pipelines.data.reader.times import as_time
from pipelines.data.row_reader import Row
from pipelines.data.typed import Seen
from pipelines.operations.inspect import encodings, hints, texts, times
from pipelines.operations.inspect.checks import broken_rule
from pipelines.operations.inspect.finding import Inspection, LookedAt, MappedColumn, Refusal
from pipelines.operations.inspect.look import look_at
from pipelines.operations.inspect.read import Guess, guessed, reader_of
from pipelines.operations.inspect.separate import ratings_of, weigh_feedback
from pipelines.operations.inspect.source import file_of
from pipelines.operations.inspect.times import Times

TOP = 6
EAST = timezone(timedelta(hours=5))


def inspect_log(path: Path, feedback: Path | None, encoding: str = "") -> Inspection:
    """Look at a log, and at the feedback that belongs to it. Raises InputError where one is no log.

    `encoding` is of a text without a mark; empty: UTF-8.
    """
    file, source, files = file_of(path)
    looked_at, raws = look_at(file, encoding)
    looked_at.source, looked_at.files = source, files
    rows = [raw.values for raw in raws if raw.values is not None]
    seen = Seen(file.name)
    for raw in raws:
        seen.note(raw)
    guess = guessed([column.name for column in looked_at.columns], seen, raws, rows)
    if encoding:
        guess.settings["encoding"] = encoding
    today = datetime.now(UTC).date()
    when = times.times_of(_times(raws, guess.settings, UTC), today)
    if when.late_days > Ingest().late_days:
        guess.settings["late_days"] = when.late_days
    found = _weighed(looked_at, raws, guess, when, seen)
    found.hints += times.time_hints(when, today)
    if NOT_UTF8 in looked_at.unreadable:
        found.hints.insert(0, encodings.hint(file))
    if feedback:
        weigh_feedback(found, feedback, raws, guess)
    return found


def _weighed(looked_at: LookedAt, raws: list[Raw], guess: Guess, when: Times, seen: Seen) -> Inspection:
    settings = guess.settings
    reader = reader_of(settings, when.night)
    rows = [reader.read(raw) for raw in raws]
    if reader.states_consent and reader.config.ingest.opt_out_if_missing is None:
        rows = [_with_consent(row) for row in rows]
    good = [row for row in rows if not row.fault and not row.cells["opt_out"]]
    held = unusable_columns(seen.name, seen.columns, Ingest(**settings), seen.consents, seen.systems)
    copies, clashes = _repeated(good)
    labels = texts.labels_of([row.cells for row in good])
    prompt, notes = texts.system_prompt_of([row.cells for row in good])
    zoned = _times(raws, settings, EAST) == _times(raws, settings, UTC)
    found = Inspection(
        looked_at=looked_at,
        format=settings.get("format", "nightshift"),
        settings=settings,
        mapping=_mapping(raws, settings),
        held=held,
        kept=0 if held else len(good) - copies - clashes,
        copies=copies,
        clashes=clashes,
        opted_out=sum(bool(row.cells.get("opt_out")) for row in rows),
        refused=_refused(rows),
        invalid=_invalid(good),
        ratings=ratings_of(row.cells for row in good),
        first=f"{when.first:%Y-%m-%d %H:%M} UTC" if when.first else None,
        last=f"{when.last:%Y-%m-%d %H:%M} UTC" if when.last else None,
        night=when.night,
        has_zone=zoned if when.first else None,
        labels=labels,
        system_prompt=prompt,
        sizes=texts.sizes_of([row.cells for row in good], labels),
        doubts=["rating"] if guess.scale.doubts else [],
    )
    found.hints = [*hints.hints_of(found, guess, raws, reader), *notes]
    return found


def _with_consent(row: Row) -> Row:
    """The row, refused where it says nothing of a consent that other rows state."""
    silent = row.fault is None and row.cells["opt_out"] is None
    return replace(row, fault="opt_out is missing") if silent else row


def _repeated(good: Sequence[Row]) -> tuple[int, int]:
    """How many rows repeat an earlier one, and how many share their request_id with another answer."""
    seen: dict[str, list[str]] = {}
    for row in good:
        if (name := row.cells["request_id"]) is not None:
            content = json.dumps([row.cells[key] for key in ("tenant", "messages", "completion")])
            seen.setdefault(name, []).append(content)
    alike = [contents for contents in seen.values() if len({*contents}) == 1]
    copies = sum(len(contents) - 1 for contents in alike)
    return copies, sum(map(len, seen.values())) - sum(map(len, alike))


def _refused(rows: Sequence[Row]) -> list[Refusal]:
    others = {row.fault for row in rows if not row.is_chat}
    told = _commonest((row.fault, row.found) for row in rows if row.fault)
    return [replace(one, is_chat=one.reason not in others) for one in told]


def _invalid(good: Sequence[Row]) -> list[Refusal]:
    broken = [rule for row in good if (rule := broken_rule(row.cells))]
    return _commonest((reason, shown(found)) for reason, found in broken)


def _mapping(raws: Sequence[Raw], settings: Mapping[str, Any]) -> list[MappedColumn]:
    """Where each of our columns comes from, and how many rows have a value there."""
    form, columns = settings.get("format", "nightshift"), settings.get("columns", {})
    given = [mapped(raw.values, converter_of(form)(raw.values), columns) for raw in raws if raw.values]
    filled = Counter(name for row in given for name, value in row.items() if not is_missing(value))
    found = []
    for column in INTERACTION:
        share = filled[column.name] / len(raws)
        theirs = columns.get(column.name) or (column.name if form == "nightshift" else f"({form})")
        if column.name == "messages" and not share and filled["prompt"]:
            share, theirs = filled["prompt"] / len(raws), f"{columns.get('prompt', 'prompt')} (one question)"
        if column.name == "completion" and not share:
            theirs, share = "the last turn of messages", filled["messages"] / len(raws)
        found.append(MappedColumn(column.name, theirs if share else "", round(share, 4), column.default))
    if system := filled["system"]:
        theirs = columns.get("system", "system" if form == "nightshift" else f"({form})")
        found.append(MappedColumn("system", theirs, round(system / len(raws), 4), "none"))
    return found


def _commonest(faults: Iterable[tuple[str, str]]) -> list[Refusal]:
    """The commonest reasons, each with an example."""
    told = list(faults)
    examples = {reason: example for reason, example in reversed(told) if example}
    counts = Counter(reason for reason, _ in told)
    return [Refusal(reason, count, examples.get(reason, "")) for reason, count in counts.most_common(TOP)]


def _times(raws: Sequence[Raw], settings: Mapping[str, Any], zone: tzinfo) -> list[datetime]:
    """The times of the rows that have one. In another zone they differ where they name none."""
    form, columns = settings.get("format", "nightshift"), settings.get("columns", {})
    found = []
    for raw in raws:
        row = raw.values or {}
        value = mapped(row, converter_of(form)(row), columns).get("ts")
        with suppress(Unfit):
            found.append(as_time(value, zone))
    return [moment for moment in found if moment is not None]
