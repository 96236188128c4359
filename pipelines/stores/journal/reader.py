"""Reads the journal: live traffic for the hourly watch, evidence for a rollout, numbers for the page.

Everything is read only. A home without a journal has no traffic.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from pipelines.core.traffic_split import Adapter
from pipelines.stores.journal.comparison import (
    COMPARED_ANSWERS,
    NEWEST_OUTCOMES,
    TENANTS,
    ComparedAnswer,
    Outcome,
    both_sides,
    compared_answer,
    outcome,
)
from pipelines.stores.journal.tables import ERRORS, connect_read_only, journal_path, midnight, timestamp

# Attempts to answer users. A shadow answers nobody. No adapter is to blame for a client that went away
# ("aborted") or for a canary's full queue ("full").
ATTEMPTS = "i.ts >= ? AND i.ts < ? AND i.route <> 'shadow' AND i.fault NOT IN ('aborted', 'full')"
READABLE = f"{ATTEMPTS} AND i.fault = '' AND NOT i.opt_out"
OF_ADAPTER = f"{READABLE} AND i.adapter = ? AND i.digest = ?"
WITH_NEWEST_FEEDBACK = """
    SELECT i.*, f.rating, f.correction FROM interactions i
    LEFT JOIN feedback f ON f.seq = (SELECT max(seq) FROM feedback WHERE request_id = i.request_id)
"""
IDS_AT_ONCE = 500


@dataclass(frozen=True)
class Totals:
    """`attempts` to answer users and `errors` among them; seconds per whole answer, cached ones left out."""

    attempts: int
    errors: int
    latencies_s: array[float]


class JournalReader:
    """The journal of one home. `of` is an adapter's name and digest, see `tables.name_and_digest`."""

    def __init__(self, home: str | Path) -> None:
        self._path = journal_path(home)

    def totals(self, since: datetime, until: datetime) -> Totals:
        """Counts and latencies of all attempts in a time span; `until` is excluded."""
        is_error = "i.fault IN ({})".format(", ".join(f"'{fault}'" for fault in ERRORS))
        count = f"SELECT count(*), coalesce(sum({is_error}), 0) FROM interactions i WHERE {ATTEMPTS}"
        answered = f"{ATTEMPTS} AND i.fault = '' AND NOT i.cached"
        times = f"SELECT i.latency_ms / 1000 FROM interactions i WHERE {answered}"
        span = (timestamp(since), timestamp(until))
        with self._open() as journal:
            if journal is None:
                return Totals(0, 0, array("d"))
            attempts, errors = journal.execute(count, span).fetchone()
            return Totals(attempts, errors, array("d", (row[0] for row in journal.execute(times, span))))

    def sample(
        self,
        since: datetime,
        until: datetime,
        choose: Callable[[int], Sequence[int]],
        of: tuple[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Some of the answers in a time span with their texts and newest feedback, in order of time.

        `choose` gets their number and returns the places to read: a busy day's texts need not fit in memory.
        """
        where = OF_ADAPTER if of else READABLE
        query = f"SELECT i.request_id FROM interactions i WHERE {where} ORDER BY i.ts, i.request_id"
        with self._open() as journal:
            if journal is None:
                return []
            found = journal.execute(query, (timestamp(since), timestamp(until), *(of or ())))
            ids = [row[0] for row in found]
            chosen = [ids[place] for place in sorted(choose(len(ids)))]
            parts = (chosen[start : start + IDS_AT_ONCE] for start in range(0, len(chosen), IDS_AT_ONCE))
            return [row for part in parts for row in _with_texts(journal, part)]

    def first_answers(self, until: datetime, most: int, of: tuple[str, str]) -> list[dict[str, Any]]:
        """The first answers that an adapter gave to users: how it behaved when it was new."""
        query = f"{WITH_NEWEST_FEEDBACK} WHERE {OF_ADAPTER} ORDER BY i.ts, i.request_id LIMIT ?"
        since = datetime.min.replace(tzinfo=UTC)
        with self._open() as journal:
            if journal is None:
                return []
            found = journal.execute(query, (timestamp(since), timestamp(until), *of, most))
            return [_parsed(row) for row in found]

    def ratings(self, since: datetime, until: datetime, of: tuple[str, str]) -> list[dict[str, Any]]:
        """tenant, subject_id and newest rating of an adapter's rated answers, in order of time."""
        answers = f"{WITH_NEWEST_FEEDBACK} WHERE {OF_ADAPTER} ORDER BY i.ts, i.request_id"
        query = f"SELECT tenant, subject_id, rating FROM ({answers}) WHERE rating NOT NULL"
        with self._open() as journal:
            if journal is None:
                return []
            return [dict(row) for row in journal.execute(query, (timestamp(since), timestamp(until), *of))]

    def compared_answers(
        self, since: datetime, candidate: Adapter, production: Adapter | None
    ) -> list[ComparedAnswer]:
        """The candidate's answers and production's with the first feedback, in the order of writing."""
        with self._open() as journal:
            if journal is None:
                return []
            found = journal.execute(COMPARED_ANSWERS, both_sides(since, candidate, production))
            return [compared_answer(row, candidate) for row in found]

    def tenants(self, since: datetime, until: datetime) -> list[tuple[str, int, int]]:
        """Each tenant with its whole answers in a time span, and how many of them were rated."""
        with self._open() as journal:
            if journal is None:
                return []
            return [tuple(row) for row in journal.execute(TENANTS, (timestamp(since), timestamp(until)))]

    def newest_outcomes(
        self, since: datetime, candidate: Adapter, production: Adapter | None, most: int
    ) -> list[Outcome]:
        """At most `most` of the newest `compared_answers`, the newest first, without texts."""
        with self._open() as journal:
            if journal is None:
                return []
            found = journal.execute(NEWEST_OUTCOMES, (*both_sides(since, candidate, production), most))
            return [outcome(row, candidate) for row in found]

    def has_answers(self, day: date, zone: tzinfo) -> bool:
        """Whether any user got a whole answer on a day in `zone`."""
        query = (
            "SELECT 1 FROM interactions WHERE ts >= ? AND ts < ? AND fault = '' AND parent IS NULL LIMIT 1"
        )
        span = (midnight(day, zone), midnight(day + timedelta(days=1), zone))
        with self._open() as journal:
            return journal is not None and journal.execute(query, span).fetchone() is not None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """A read-only connection; None while there is no journal, or its tables are not made yet."""
        if not self._path.exists():
            yield None
            return
        with closing(connect_read_only(self._path)) as connection:
            made = connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE name IN ('interactions', 'feedback')"
            ).fetchone()
            yield connection if made[0] == 2 else None


def _with_texts(journal: sqlite3.Connection, ids: Sequence[str]) -> list[dict[str, Any]]:
    marks = ", ".join("?" * len(ids))
    query = f"{WITH_NEWEST_FEEDBACK} WHERE i.request_id IN ({marks}) ORDER BY i.ts, i.request_id"
    return [_parsed(row) for row in journal.execute(query, ids)]


def _parsed(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "messages": json.loads(row["messages"])}
