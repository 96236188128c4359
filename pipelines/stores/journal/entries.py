"""What the journal's writer stores: answers, feedback on them, and what became of a shadow's copies."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from pipelines.stores.journal.tables import COLUMNS, Interaction, timestamp
from pipelines.stores.sql.database import storable

INSERT = f"""
    INSERT INTO interactions ({", ".join(COLUMNS)}) VALUES ({", ".join("?" * len(COLUMNS))})
    ON CONFLICT (request_id) DO NOTHING
"""
# What SQLite says about one row. Its other errors are about the file, and the whole group is tried again.
OF_THE_ROW = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
LIKE = 1
FeedbackResult = Literal["stored", "unchanged", "unknown"]
CopyFate = Literal["offered", "answered", "failed", "dropped"]
COUNT_COPY = """
    INSERT INTO shadow_copies (source, promotion, offered, answered, failed, dropped)
    VALUES ('', ?, ?, ?, ?, ?) ON CONFLICT (source, promotion) DO UPDATE SET
        offered = offered + excluded.offered, answered = answered + excluded.answered,
        failed = failed + excluded.failed, dropped = dropped + excluded.dropped
"""
# Copies that a gateway was working on when it was killed.
DROP_OPEN_COPIES = "UPDATE shadow_copies SET dropped = offered - answered - failed"


@dataclass(frozen=True)
class Feedback:
    """What a user says of an answer, and when. `result` is set once it is on disk."""

    request_id: str
    tenant: str
    rating: int | None
    correction: str | None
    at: datetime
    result: Future[FeedbackResult]


@dataclass(frozen=True)
class ShadowCopy:
    """What became of a copy of a request. `row` is the shadow's answer or its failure."""

    promotion: int
    fate: CopyFate
    row: Interaction | None = None

    @property
    def request_id(self) -> str:
        return self.row.request_id if self.row else ""


@dataclass(frozen=True)
class Start:
    """A gateway starts: what the one before it left open comes to nothing."""

    request_id: str = ""


Entry = Interaction | Feedback | ShadowCopy | Start


def text_length(entry: Entry) -> int:
    """About how many characters an entry has, whatever is in it."""
    match entry:
        case Interaction():
            return len(str(entry.messages)) + len(str(entry.completion))
        case ShadowCopy(row=Interaction() as row):
            return text_length(row)
        case Feedback():
            return len(str(entry.correction))
    return 0


def write_entry(connection: sqlite3.Connection, entry: Entry) -> FeedbackResult | Exception:
    """Write one entry in the transaction under way. Returns the error of an entry that cannot be stored.

    Raises sqlite3.Error if SQLite takes no entry at present.
    """
    try:
        match entry:
            case Feedback():
                return _store_feedback(connection, entry)
            case Start():
                connection.execute(DROP_OPEN_COPIES)
            case ShadowCopy():
                if entry.row:
                    connection.execute(INSERT, entry.row.values())
                counts = [int(fate == entry.fate) for fate in get_args(CopyFate)]
                connection.execute(COUNT_COPY, (entry.promotion, *counts))
            case Interaction():
                connection.execute(INSERT, entry.values())
        return "stored"
    except OF_THE_ROW as error:
        return error
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001  # of any kind: one bad row must not stop the writer
        return error


def merged(
    last: tuple[int | None, str | None], rating: int | None, correction: str | None
) -> tuple[int | None, str | None]:
    """Newer feedback on top of older: what is not given stays.

    A like withdraws a correction, and a correction withdraws a like, as they contradict each other.
    """
    if rating is None:
        return None if last[0] == LIKE else last[0], correction
    if correction is None and rating != LIKE:
        return rating, last[1]
    return rating, correction


def _store_feedback(connection: sqlite3.Connection, entry: Feedback) -> FeedbackResult:
    request_id = storable(entry.request_id)
    answered = connection.execute(
        "SELECT opt_out FROM interactions WHERE request_id = ? AND tenant = ? AND parent IS NULL",
        (request_id, storable(entry.tenant)),
    ).fetchone()
    if answered is None:
        return "unknown"
    last = connection.execute(
        "SELECT rating, correction FROM feedback WHERE request_id = ? ORDER BY seq DESC LIMIT 1",
        (request_id,),
    ).fetchone()
    correction = None if answered["opt_out"] else storable(entry.correction)
    rating = storable(entry.rating)
    new = merged(tuple(last), rating, correction) if last else (rating, correction)
    if last is not None and tuple(last) == new:
        return "unchanged"
    connection.execute(
        "INSERT INTO feedback (at, request_id, rating, correction) VALUES (?, ?, ?, ?)",
        (timestamp(entry.at), request_id, *new),
    )
    return "stored"
