"""Files of feedback that comes apart from the answers: request, rating, correction, and when it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import FEEDBACK_COLUMNS, INTERACTION
from pipelines.data.reader import cells
from pipelines.data.reader.cells import Unfit
from pipelines.data.reader.mapping import mapped
from pipelines.data.reader.ratings import Ratings
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.reasons import reason_of

Found = dict[str, Any]
Readers = dict[str, Callable[[Any], Any]]
_KIND = {column.name: column.kind for column in INTERACTION}


@dataclass
class Feedback:
    """The newest feedback of each request. read = requests + refused + superseded."""

    newest: list[Found]
    read: int
    refused: dict[str, int]  # by reason
    superseded: int  # another row of the same request is newer


def read_feedback(rows: Iterable[Raw], settings: Ingest) -> Feedback:
    """Read every row. Of several for a request the newest stands: by feedback_ts, else by its place."""
    readers: Readers = {
        "request_id": cells.as_id,
        "rating": Ratings(settings.rating).read,
        "correction": cells.as_text,
        "feedback_ts": partial(cells.as_time, zone=settings.zone),
    }
    newest: dict[str, Found] = {}
    refused: dict[str, int] = {}
    read = superseded = 0
    for raw in rows:
        read += 1
        found, problem = _read(raw, settings, readers)
        if problem:
            refused[problem] = refused.get(problem, 0) + 1
            continue
        name = str(found["request_id"])
        before = newest.get(name)
        superseded += before is not None
        if before is None or _is_newer(found, before):
            newest[name] = found
    return Feedback([*newest.values()], read, refused, superseded)


def _read(raw: Raw, settings: Ingest, readers: Readers) -> tuple[Found, str | None]:
    if raw.values is None or raw.problem:
        return {}, raw.problem
    given = mapped(raw.values, raw.values, settings.feedback_columns)
    found: Found = {}
    for name in FEEDBACK_COLUMNS:
        try:
            value = given.get(name)
            found[name] = None if value is None else readers[name](value)
        except Unfit as unfit:
            return {}, reason_of(name, _KIND[name], unfit)
    correction = found["correction"]
    if isinstance(correction, str) and not correction.strip():
        found["correction"] = None
    if found["request_id"] is None:
        return {}, "request_id is missing"
    if found["rating"] is None and found["correction"] is None:
        return {}, "neither rating nor correction"
    return found, None


def _is_newer(found: Found, before: Found) -> bool:
    """By time; a row that has one is newer than a row without, and of equals the later row is newer."""
    now, then = found["feedback_ts"], before["feedback_ts"]
    if now is None or then is None:
        return then is None
    return bool(now >= then)
