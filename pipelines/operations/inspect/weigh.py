"""How a log would be read: its format, its columns, and what would become of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

from pipelines.core.config import Config, Register
from pipelines.core.config.data import Ingest
from pipelines.core.interactions import INTERACTION
from pipelines.data.formats import converter_of
from pipelines.data.reader.cells import Unfit, as_time, is_missing
from pipelines.data.reader.columns import unusable_columns
from pipelines.data.reader.consent import consents_in
from pipelines.data.reader.feedback import FeedbackReader
from pipelines.data.reader.mapping import ABSENT, at, mapped
from pipelines.data.reader.ratings import Ratings
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.turns import UnfitMessages
from pipelines.data.row_reader import Row, RowReader
from pipelines.operations.inspect import guess
from pipelines.operations.inspect.finding import FeedbackLook, Inspection, LookedAt, MappedColumn, Refusal
from pipelines.operations.inspect.look import look_at

FORMATS = ("nightshift", "openai", "sharegpt", "langfuse", "litellm")
TRIED = 200  # rows that are read in every format, to find the one that reads the most
MOST_LABELS = 40
COMMON = 5  # an answer that is a label comes this often, on average
TOP = 6
BESIDES = ("tenant", "subject_id", "conversation_id", "channel")
EAST = timezone(timedelta(hours=5))


def inspect_log(file: Path, feedback: Path | None) -> Inspection:
    """Look at a log, and at the feedback that belongs to it. Raises InputError where one is no log."""
    looked_at, raws = look_at(file)
    rows = [raw.values for raw in raws if raw.values is not None]
    settings = _settings(looked_at, raws, rows)
    night, span = _night_and_span(raws, settings)
    if span > Ingest().late_days:
        settings["late_days"] = span
    found = _weighed(looked_at, raws, settings, night)
    if feedback:
        found.feedback = _weigh_feedback(feedback, raws, settings, night)
        found.settings = settings
    return found


def reader_of(settings: Mapping[str, Any], night: date) -> RowReader:
    """The rules of a night with these settings of `[ingest]`."""
    config = Config(profile="inspect", ingest=Ingest(**settings), register=Register(name="inspect"))
    return RowReader(config, night)


def _settings(looked_at: LookedAt, raws: Sequence[Raw], rows: guess.Rows) -> dict[str, Any]:
    """The settings of `[ingest]` that read the most of these rows."""
    names = [column.name for column in looked_at.columns]
    columns = guess.columns_of(names, rows[:TRIED])
    tried: dict[str, dict[str, Any]] = {"nightshift": {"columns": columns}} | {
        form: {"format": form, "columns": _only_ratings(columns)} for form in FORMATS[1:]
    }
    usable = {form: _usable(raws[:TRIED], settings) for form, settings in tried.items()}
    form = max(FORMATS, key=lambda name: (usable[name], name == "nightshift"))
    if form != "nightshift":
        tried[form]["columns"] |= _besides(raws[:TRIED], tried[form], columns)
    settings = {key: value for key, value in tried[form].items() if value}
    rating = settings.get("columns", {}).get("rating", "rating")
    if scale := guess.scale_of([value for row in rows if (value := at(row, rating)) is not ABSENT]):
        settings["rating"] = scale
    return settings


def _only_ratings(columns: Mapping[str, str]) -> dict[str, str]:
    """What a format cannot know: feedback and the like."""
    return {name: columns[name] for name in ("rating", "correction", "opt_out", "locale") if name in columns}


def _besides(raws: Sequence[Raw], settings: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str]:
    """What users put into a format's own fields, such as metadata.tenant, where the format finds nothing."""
    reader = reader_of(settings, date(2000, 1, 1))
    found = {name for raw in raws for name, value in reader.read(raw).cells.items() if value is not None}
    missing = [name for name in BESIDES if name in columns and "." in columns[name]]
    return {name: columns[name] for name in missing if name not in found or name in reader.defaulted}


def _usable(raws: Sequence[Raw], settings: Mapping[str, Any]) -> tuple[int, int]:
    """How many rows have messages and an answer, and how many values a format finds besides."""
    reader = reader_of(settings, date(2000, 1, 1))
    rows = [reader.read(raw) for raw in raws]
    whole = [row for row in rows if row.cells.get("messages") and row.cells.get("completion") is not None]
    known = ("request_id", "subject_id", "conversation_id", "tokens_in")
    return len(whole), sum(row.cells.get(name) is not None for row in whole for name in known)


def _night_and_span(raws: Sequence[Raw], settings: Mapping[str, Any]) -> tuple[date, int]:
    """The last day of the log, and how many days before it the log begins."""
    days = sorted(moment.date() for moment in _times(raws, settings, UTC))
    return (
        (days[-1], (days[-1] - days[0]).days) if days else (datetime.now(UTC).date() - timedelta(days=1), 0)
    )


def _weighed(looked_at: LookedAt, raws: list[Raw], settings: dict[str, Any], night: date) -> Inspection:
    reader = reader_of(settings, night)
    rows = [reader.read(raw) for raw in raws]
    good = [row for row in rows if not row.fault and not row.cells["opt_out"]]
    mapping = _mapping(raws, settings)
    times = _times(raws, settings, UTC)
    names = Counter(row.cells["request_id"] for row in good if row.cells["request_id"] is not None)
    copies = names.total() - len(names)
    return Inspection(
        looked_at=looked_at,
        format=settings.get("format", "nightshift"),
        settings=settings,
        mapping=mapping,
        kept=len(good) - copies,
        copies=copies,
        opted_out=sum(bool(row.cells.get("opt_out")) for row in rows),
        refused=_refusals(rows),
        ratings=ratings_of(row.cells for row in good),
        first=f"{min(times):%Y-%m-%d %H:%M} UTC" if times else None,
        last=f"{max(times):%Y-%m-%d %H:%M} UTC" if times else None,
        night=night,
        has_zone=_times(raws, settings, EAST) == times if times else None,
        labels=_labels(good),
        system_prompts=_system_prompts(good),
        hints=_hints(looked_at, raws, settings),
    )


def _mapping(raws: Sequence[Raw], settings: Mapping[str, Any]) -> list[MappedColumn]:
    """Where each of our columns comes from, and how many rows have a value there."""
    form, columns = settings.get("format", "nightshift"), settings.get("columns", {})
    given = [_given(raw.values, form, columns) for raw in raws if raw.values is not None]
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
    return found


def _given(row: Mapping[str, Any], form: str, columns: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        return mapped(row, converter_of(form)(row), columns)
    except UnfitMessages:
        return {}


def _refusals(rows: Sequence[Row]) -> list[Refusal]:
    faults = Counter(row.fault for row in rows if row.fault)
    examples = {row.fault: row.found for row in reversed(rows) if row.fault and row.found}
    return [Refusal(reason, count, examples.get(reason, "")) for reason, count in faults.most_common(TOP)]


def ratings_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many likes, dislikes, neither and corrections there are."""
    counts = Counter[str]()
    for row in rows:
        if row["rating"] is not None:
            counts[{1: "like", 0: "neither", -1: "dislike"}[row["rating"]]] += 1
        counts["correction"] += row["correction"] is not None
    return {name: counts[name] for name in ("like", "dislike", "neither", "correction")}


def _times(raws: Sequence[Raw], settings: Mapping[str, Any], zone: tzinfo) -> list[datetime]:
    """The times of the rows that have one. In another zone they differ where they name none."""
    form, columns = settings.get("format", "nightshift"), settings.get("columns", {})
    found = []
    for raw in raws:
        value = _given(raw.values, form, columns).get("ts") if raw.values is not None else None
        with suppress(Unfit):
            found.append(as_time(value, zone))
    return [moment for moment in found if moment is not None]


def _labels(rows: Sequence[Row]) -> dict[str, int]:
    """The distinct answers, where there are so few that they are labels."""
    answers = [row.cells["correction"] or row.cells["completion"] for row in rows]
    counts = Counter(answer.strip() for answer in answers)
    few = 1 < len(counts) <= min(MOST_LABELS, len(answers) // COMMON)
    return dict(counts.most_common()) if few else {}


def _system_prompts(rows: Sequence[Row]) -> dict[str, int]:
    firsts = [row.cells["messages"][0] for row in rows]
    counts = Counter(turn["content"] for turn in firsts if turn["role"] == "system")
    return dict(counts.most_common(3))


def _hints(looked_at: LookedAt, raws: Sequence[Raw], settings: Mapping[str, Any]) -> list[str]:
    """What a person should know besides: columns that ingest would hold the night for, odd bytes."""
    names = [column.name for column in looked_at.columns if "." not in column.name]
    consents = dict.fromkeys(path for raw in raws if raw.values for path in consents_in(raw.values))
    hints = unusable_columns(Path(looked_at.file).name, names, consents, Ingest(**settings))
    if looked_at.unreadable.get("not UTF-8"):
        hints.append("Rows that are not UTF-8 are refused: convert the file, as with iconv -f WINDOWS-1252.")
    return hints


def _weigh_feedback(file: Path, raws: Sequence[Raw], settings: dict[str, Any], night: date) -> FeedbackLook:
    """Look at separate feedback. Adds what reads it to `settings`."""
    looked_at, rows = look_at(file)
    values = [raw.values for raw in rows if raw.values is not None]
    reader = reader_of(settings, night)
    ids = {row.cells["request_id"] for row in map(reader.read, raws) if row.cells.get("request_id")}
    names = [column.name for column in looked_at.columns]
    columns = guess.feedback_columns_of(names, values[:TRIED])
    if named := guess.column_holding(ids, names, values[:TRIED]):
        columns["request_id"] = named
    rating = columns.get("rating", "rating")
    ratings = [value for row in values if (value := at(row, rating)) is not ABSENT]
    if _refuses(ratings, settings) and (scale := guess.scale_of(ratings)):
        settings["rating"] = scale
    settings |= {"feedback": str(file.resolve()), **({"feedback_columns": columns} if columns else {})}
    reader_of_feedback = FeedbackReader(Ingest(**settings))
    read = [reader_of_feedback.read(raw) for raw in rows]
    told = {one.request_id: one for one in read if not one.problem}
    return FeedbackLook(
        looked_at,
        columns,
        matched=sum(name in ids for name in told),
        requests=len(told),
        refused=dict(Counter(one.problem for one in read if one.problem)),
        ratings=ratings_of(one._asdict() for one in told.values()),
    )


def _refuses(values: Sequence[Any], settings: Mapping[str, Any]) -> bool:
    """Whether the scale so far does not name one of these values."""
    ratings = Ratings(Ingest(**settings).rating)
    try:
        for value in values:
            ratings.read(value)
    except Unfit:
        return True
    return False
