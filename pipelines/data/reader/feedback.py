"""Files of feedback that comes apart from the answers: request, rating, correction, time, and opt-outs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import INTERACTION, Kind
from pipelines.data.reader import cells
from pipelines.data.reader.cells import Unfit
from pipelines.data.reader.mapping import mapped
from pipelines.data.reader.ratings import Ratings
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.reasons import reason_of

Found = dict[str, Any]
Readers = dict[str, Callable[[Any], Any]]
_KIND: dict[str, Kind] = {column.name: column.kind for column in INTERACTION} | {"opt_in": "bool"}


@dataclass
class Feedback:
    """The newest feedback of each request. read = newest + refused + superseded + withdrawn."""

    newest: list[Found]
    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by reason
    superseded: int = 0  # another row of the same request is newer
    withdrawn: int = 0  # rows of people who want no learning from the request
    opted_out: set[str] = field(default_factory=set)  # these requests


def read_feedback(rows: Iterable[Raw], settings: Ingest) -> Feedback:
    """Read every row. Of several for a request the newest stands: by feedback_ts, else by its place."""
    readers: Readers = {
        "request_id": cells.as_id,
        "rating": Ratings(settings.feedback_rating or settings.rating).read,
        "correction": cells.as_text,
        "feedback_ts": partial(cells.as_time, zone=settings.zone),
        "opt_out": cells.as_bool,
        "opt_in": cells.as_bool,
    }
    newest: dict[str, Found] = {}
    told = Feedback([])
    for raw in rows:
        told.read += 1
        found, problem = _read(raw, settings, readers)
        if problem:
            told.refused[problem] += 1
            continue
        name = str(found["request_id"])
        if found["opt_out"]:
            told.opted_out.add(name)
            told.withdrawn += 1
            continue
        before = newest.get(name)
        told.superseded += before is not None
        if before is None or _is_newer(found, before):
            newest[name] = found
    told.newest = [found for name, found in newest.items() if name not in told.opted_out]
    told.withdrawn += len(newest) - len(told.newest)
    return told


def _read(raw: Raw, settings: Ingest, readers: Readers) -> tuple[Found, str | None]:
    if raw.values is None or raw.problem:
        return {}, raw.problem
    given = mapped(raw.values, raw.values, settings.feedback_columns)
    found: Found = {}
    for name, read in readers.items():
        try:
            value = given.get(name)
            found[name] = None if value is None else read(value)
        except Unfit as unfit:
            return {}, reason_of(name, _KIND[name], unfit)
    correction = found["correction"]
    if isinstance(correction, str) and not correction.strip():
        found["correction"] = None
    found["opt_out"] = found["opt_out"] or found.pop("opt_in") is False
    if found["request_id"] is None:
        return {}, "request_id is missing"
    if found["rating"] is None and found["correction"] is None and not found["opt_out"]:
        return {}, "neither rating nor correction"
    return found, None


def _is_newer(found: Found, before: Found) -> bool:
    """By time; a row that has one is newer than a row without, and of equals the later row is newer."""
    now, then = found["feedback_ts"], before["feedback_ts"]
    if now is None or then is None:
        return then is None
    return bool(now >= then)
