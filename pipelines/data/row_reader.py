"""One delivered row as typed values, or the first thing that is wrong with it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any

from pipelines.core.config import Config
from pipelines.core.interactions import CONSENT, DEFAULTS, INTERACTION, Kind
from pipelines.data.formats import converter_of
from pipelines.data.reader import cells
from pipelines.data.reader.cells import Unfit
from pipelines.data.reader.conversation import conversation_of
from pipelines.data.reader.mapping import mapped
from pipelines.data.reader.ratings import Ratings
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.reasons import reason_of
from pipelines.data.reader.strict_json import as_tools
from pipelines.data.reader.times import as_time
from pipelines.data.reader.turns import (
    NoChat,
    Turn,
    UnfitMessages,
    size_of,
)

MISSING_CONSENT = "opt_out is missing"
LARGEST_SCALE = 100  # of ratings; larger numbers are no rating
RAW_BYTES = 4_096  # a longer raw row is cut in quarantine
IDENTITY = ("messages", "completion", "ts", "tenant", "subject_id", "conversation_id", "tools")
Cells = dict[str, Any]


@dataclass
class Row:
    """`cells` by column. Where `fault` says why the row is refused, `found` and `raw` show what came."""

    cells: Cells
    fault: str | None = None
    found: str = ""
    raw: str | None = None
    content_key: str | None = None  # stands for a request_id
    is_chat: bool = True  # false: the row is no answer of a model, such as an embedding
    is_clear: bool = True  # false: it has a consent that cannot be read, and its text is shown nowhere
    size: int = 0  # bytes of its texts


@dataclass
class RowReader:
    """The rules of one night. `defaulted` counts the good rows in which a column had no value.

    `states_consent` is whether any row has said `opt_out`. If one does, a row that does not is no yes.
    """

    config: Config
    night: date
    defaulted: Counter[str] = field(default_factory=Counter)
    states_consent: bool = False
    unread_ratings: set[float] = field(default_factory=set)  # numbers as of a larger scale

    def __post_init__(self) -> None:
        settings = self.config.ingest
        self._convert, self._columns = converter_of(settings.format), settings.columns
        self._most, self._late_days = settings.max_text_bytes, settings.late_days
        self._zone, self._if_missing = settings.zone, settings.opt_out_if_missing
        self.states_consent = any(name in settings.columns for name in CONSENT)
        self._noon = datetime.combine(self.night, time(12), self._zone).astimezone(UTC)
        self._constants = DEFAULTS | settings.defaults
        readers: dict[Kind, Callable[[Any], Any]] = {
            "id": cells.as_id,
            "text": cells.as_text,
            "time": partial(as_time, zone=self._zone),
            "tools": as_tools,
            "rating": Ratings(settings.rating).read,
            "int32": cells.as_int32,
            "float64": cells.as_number,
            "bool": cells.as_bool,
        }
        self._readers = [
            (one.name, readers[one.kind], one.kind) for one in INTERACTION if one.kind != "messages"
        ]

    def read(self, raw: Raw) -> Row:
        """The row; it has a fault where it cannot be used. It is never an exception."""
        if raw.values is None:
            return Row({}, raw.problem, raw.found, _withheld(raw), is_clear=False)
        given = mapped(raw.values, self._convert(raw.values), self._columns)
        row = Row({})
        self._read_cells(given, row)
        self._read_conversation(given, row)
        row.is_clear = self._read_consent(given, row)
        self._check_required(row)
        self._check_day(row)
        if raw.problem:
            row.fault, row.found = raw.problem, raw.found
        if row.fault:
            row.raw = _shortened(raw) if row.is_clear else _withheld(raw)
            row.found = row.found if row.is_clear else ""
        else:
            self._fill(row)
        return row

    def lacks_consent(self, row: Row) -> bool:
        """Whether a good row says nothing where another row has said `opt_out`."""
        unsaid = row.fault is None and row.cells["opt_out"] is None
        return unsaid and self.states_consent and self._if_missing is None

    def _read_cells(self, given: Cells, row: Row) -> None:
        for name, read, kind in self._readers:
            value = given.get(name)
            try:
                value = None if value is None else read(value)
            except UnfitMessages as unfit:
                _refuse(row, unfit.reason, unfit.found)
                value = None
            except Unfit as unfit:
                _refuse(row, reason_of(name, kind, unfit), unfit.found)
                if kind == "rating":
                    self._note_rating(unfit.found)
                value = None
            if isinstance(value, str):
                value = self._short(row, name, value)
            row.cells[name] = value

    def _note_rating(self, found: str) -> None:
        with suppress(ValueError):
            if 1 < (number := float(found)) <= LARGEST_SCALE:
                self.unread_ratings.add(number)

    def _read_conversation(self, given: Cells, row: Row) -> None:
        row.cells["messages"] = None
        try:
            turns, row.cells["completion"] = conversation_of(given, row.cells["completion"])
            if turns is not None:
                row.cells["messages"] = self._short_turns(row, turns)
        except UnfitMessages as unfit:
            _refuse(row, unfit.reason, unfit.found)
            row.is_chat = not isinstance(unfit, NoChat)

    def _short_turns(self, row: Row, turns: list[Turn]) -> list[Turn] | None:
        if not turns:
            _refuse(row, "messages is empty")
        size = size_of(turns)
        row.size += size
        if size > self._most:
            _refuse(row, f"messages is longer than {self._most} bytes")
            return None
        return turns

    def _short(self, row: Row, name: str, text: str) -> str | None:
        """The text; nothing in place of one that is too long, or blank where it need not be there."""
        if name == "correction" and not text.strip():
            return None
        row.size += len(text)
        if 4 * len(text) > self._most and len(text.encode()) > self._most:
            _refuse(row, f"{name} is longer than {self._most} bytes")
            return None
        return text

    def _read_consent(self, given: Mapping[str, Any], row: Row) -> bool:
        """Whether the row's consent can be read, or there is none to read. An empty one is no consent."""
        if not any(name in given for name in CONSENT):
            return True
        self.states_consent = True
        try:
            opt_in = cells.as_bool(given.get("opt_in"))
        except Unfit as unfit:
            _refuse(row, reason_of("opt_in", "bool", unfit), unfit.found)
            return False
        told = [
            said
            for said in (row.cells["opt_out"], None if opt_in is None else not opt_in)
            if said is not None
        ]
        row.cells["opt_out"] = any(told) if told else self._if_missing
        if row.cells["opt_out"] is None:
            _refuse(row, MISSING_CONSENT)
        return row.cells["opt_out"] is not None

    def _check_required(self, row: Row) -> None:
        for name in ("messages", "completion"):
            if row.cells[name] is None:
                _refuse(row, f"{name} is missing")

    def _check_day(self, row: Row) -> None:
        moment = row.cells["ts"]
        if moment is None:
            return
        late = (self.night - moment.astimezone(self._zone).date()).days
        if late < 0:
            _refuse(row, "from the future", f"ts {moment:%Y-%m-%d %H:%M} UTC")
        elif late > self._late_days:
            _refuse(row, f"more than {self._late_days} days late", f"ts {moment:%Y-%m-%d %H:%M} UTC")

    def _fill(self, row: Row) -> None:
        """Put the defaults where a column has no value. request_id, subject_id and opt_out follow later."""
        found = row.cells
        if found["request_id"] is None:
            row.content_key = content_key(found)
        missing = [
            one.name
            for one in INTERACTION
            if one.default and not one.nullable and found[one.name] is None and one.name != "opt_out"
        ]
        for name in missing:
            found[name] = self._constants.get(name)
        if found["ts"] is None:
            found["ts"] = self._noon
        self.defaulted.update(missing)


def _shortened(raw: Raw) -> str:
    """The row for quarantine: whole, or the beginning of it."""
    text = raw.text or _as_json(raw.values)
    if len(text) > RAW_BYTES:
        return json.dumps({"text": text[:RAW_BYTES], "bytes": len(text.encode())}, ensure_ascii=False)
    return text


def content_key(found: Cells) -> str:
    """A name for a row without one: equal for equal content, whatever the feedback says."""
    content = _as_json([found[name] for name in IDENTITY])
    return f"row-{hashlib.sha256(content.encode()).hexdigest()[:24]}"


def _refuse(row: Row, reason: str, found: str = "") -> None:
    """The first fault stands."""
    if row.fault is None:
        row.fault, row.found = reason, found


def _withheld(raw: Raw) -> str:
    """What quarantine holds of a row whose person may have opted out."""
    text = raw.text or _as_json(raw.values)
    return json.dumps({"withheld": "opt_out cannot be read", "bytes": len(text.encode())})


def _as_json(values: Any) -> str:
    return json.dumps(values, ensure_ascii=False, default=str)
