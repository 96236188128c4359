"""Feedback in a file of its own: whose it is, and its scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import CONSENT, FEEDBACK_COLUMNS
from pipelines.data.reader.columns import misspelt, unread_consents
from pipelines.data.reader.feedback import FeedbackReader
from pipelines.data.reader.mapping import ABSENT, at
from pipelines.data.reader.raw import Raw
from pipelines.data.typed import Seen
from pipelines.operations.inspect import hints
from pipelines.operations.inspect import names as known
from pipelines.operations.inspect.asked import consents_of
from pipelines.operations.inspect.finding import FeedbackLook, Inspection
from pipelines.operations.inspect.look import look_at
from pipelines.operations.inspect.read import TRIED, Guess, reader_of
from pipelines.operations.inspect.scales import scale_of
from pipelines.operations.inspect.source import file_of

DEFAULT = {"good": [1], "bad": [-1], "neutral": [0]}  # of RatingScale
RATINGS = {1: "like", 0: "neither", -1: "dislike"}


def weigh_feedback(found: Inspection, path: Path, raws: Sequence[Raw], guess: Guess) -> None:
    """Look at separate feedback. Adds what reads it to the settings, and its doubts to the hints."""
    file, source, files = file_of(path)
    looked_at, rows = look_at(file, guess.settings.get("encoding", ""))
    looked_at.source, looked_at.files = source, files
    values = [raw.values for raw in rows if raw.values is not None]
    settings, seen = found.settings, Seen(file.name)
    for raw in rows:
        seen.note(raw)
    answers = [row for row in map(reader_of(settings, found.night).read, raws) if row.cells.get("request_id")]
    ids = {row.cells["request_id"] for row in answers}
    names = [column.name for column in looked_at.columns]
    columns = known.feedback_columns_of(names, values[:TRIED])
    if (named := known.column_holding(ids, names, values[:TRIED])) and named != "request_id":
        columns["request_id"] = named
    columns |= consents_of(seen, values, {})
    _set_scale(found, guess, columns.get("rating", "rating"), values)
    settings |= {"feedback": source, **({"feedback_columns": columns} if columns else {})}
    ingest = Ingest(**settings)
    reader = FeedbackReader(ingest)
    read = [reader.read(raw) for raw in rows]
    told = {one.request_id: one for one in read if not one.problem}
    asked = [
        *unread_consents(seen.consents, columns, ingest.ignore, "ingest.feedback_columns"),
        *misspelt(FEEDBACK_COLUMNS, [*seen.columns], columns, ingest.ignore, "ingest.feedback_columns"),
    ]
    has = {*seen.columns, *columns}
    if not asked and ("request_id" not in has or not has & {"rating", "correction", *CONSENT}):
        asked = ["needs request_id and a rating or a correction. Name them under [ingest.feedback_columns]."]
    found.held += [f"The feedback {seen.name} {sentence}" for sentence in asked]
    withdrawn = {one.request_id for one in read if one.opt_out}
    gone = {
        row.cells["request_id"] for row in answers if not row.fault and not row.cells["opt_out"]
    } & withdrawn
    found.opted_out += len(gone)
    found.kept = 0 if found.held else found.kept - len(gone)
    found.feedback = FeedbackLook(
        looked_at,
        columns,
        matched=sum(name in ids for name in told),
        requests=len(told),
        refused=dict(Counter(one.problem for one in read if one.problem)),
        ratings=ratings_of(one._asdict() for one in told.values()),
    )


def _set_scale(found: Inspection, guess: Guess, rating: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Propose a scale of its own where the log has ratings in another one."""
    values = [value for row in rows if (value := at(row, rating)) is not ABSENT and value is not None]
    scale = scale_of(values, rating)
    if not values:
        return
    table = "feedback_rating" if guess.has_ratings else "rating"
    if (scale.settings or DEFAULT) != (found.settings.get("rating") or DEFAULT):
        found.settings[table] = scale.settings or DEFAULT
        found.doubts += [table] if scale.doubts else []
    found.hints += hints.scale_hints(scale, rating, table)


def ratings_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many likes, dislikes, neither and corrections there are."""
    counts = Counter[str]()
    for row in rows:
        if row["rating"] is not None:
            counts[RATINGS[row["rating"]]] += 1
        counts["correction"] += row["correction"] is not None
    return {name: counts[name] for name in ("like", "dislike", "neither", "correction")}
