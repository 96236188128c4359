"""Rows of feedback that comes apart from the answers: request, rating, correction, time, and opt-outs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import INTERACTION, Kind
from pipelines.data.reader import cells
from pipelines.data.reader.cells import Unfit
from pipelines.data.reader.mapping import mapped
from pipelines.data.reader.ratings import Ratings
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.reasons import reason_of
from pipelines.data.reader.times import as_time

_KIND: dict[str, Kind] = {column.name: column.kind for column in INTERACTION} | {"opt_in": "bool"}


class Told(NamedTuple):
    """What one row says. Where `problem` says why it is refused, nothing else counts."""

    request_id: str | None = None
    rating: int | None = None
    correction: str | None = None
    feedback_ts: datetime | None = None
    opt_out: bool = False  # the person wants no learning from the request
    problem: str | None = None


class FeedbackReader:
    """The rules of `[ingest]` for separate feedback."""

    def __init__(self, settings: Ingest) -> None:
        self._columns = settings.feedback_columns
        self._readers: dict[str, Callable[[Any], Any]] = {
            "request_id": cells.as_id,
            "rating": Ratings(settings.feedback_rating or settings.rating).read,
            "correction": cells.as_text,
            "feedback_ts": partial(as_time, zone=settings.zone),
            "opt_out": cells.as_bool,
            "opt_in": cells.as_bool,
        }

    def read(self, raw: Raw) -> Told:
        """It is never an exception. Who wants no learning is heard, whatever else is wrong with the row."""
        if raw.values is None:
            return Told(problem=raw.problem)
        given = mapped(raw.values, raw.values, self._columns)
        found: dict[str, Any] = {}
        problem = raw.problem
        for name, read in self._readers.items():
            value = given.get(name)
            try:
                found[name] = None if value is None else read(value)
            except Unfit as unfit:
                found[name] = None
                problem = problem or reason_of(name, _KIND[name], unfit)
        told = _told(**found)
        return told if not problem or told.opt_out else Told(problem=problem)


def _told(
    request_id: str | None,
    rating: int | None,
    correction: str | None,
    feedback_ts: datetime | None,
    opt_out: bool | None,
    opt_in: bool | None,
) -> Told:
    correction = correction if correction and correction.strip() else None
    out = bool(opt_out) or opt_in is False
    if request_id is None:
        return Told(problem="request_id is missing")
    if rating is None and correction is None and not out:
        return Told(problem="neither rating nor correction")
    return Told(request_id, rating, correction, feedback_ts, out)
