"""Live traffic as the watch sees it: numbers over all of a window, texts of a sample of it.

A busy day's texts need not fit into memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.traffic_split import Adapter
from pipelines.stores.journal.writer import ERRORS, JOINED, connect, journal_path

BASE = "base"  # the bare base model's name and digest in a row
# A shadow's answers are nobody's; a client that went away and a full canary are no adapter's fault.
ASKED = "i.ts >= ? AND i.ts < ? AND i.route <> 'shadow' AND i.fault NOT IN ('aborted', 'full')"
WHOLE = f"{ASKED} AND i.fault = '' AND NOT i.opt_out"
OWN = f"{WHOLE} AND i.adapter = ? AND i.digest = ?"
CHUNK = 500


@dataclass(frozen=True)
class Totals:
    """`attempts` to answer users, `errors` among them; seconds of each whole answer that was not cached."""

    attempts: int
    errors: int
    latencies_s: np.ndarray


class Traffic:
    """The gateway's journal of a home; no journal is no traffic."""

    def __init__(self, home: str | Path) -> None:
        self._path = journal_path(home)

    def totals(self, since: datetime, until: datetime) -> Totals:
        faults = ", ".join(f"'{fault}'" for fault in ERRORS)
        count = f"SELECT count(*), coalesce(sum(i.fault IN ({faults})), 0) FROM interactions i WHERE {ASKED}"
        answered = f"{ASKED} AND i.fault = '' AND NOT i.cached"
        times = f"SELECT i.latency_ms / 1000 FROM interactions i WHERE {answered}"
        with self._open() as journal:
            if journal is None:
                return Totals(0, 0, np.array([]))
            attempts, errors = journal.execute(count, _span(since, until)).fetchone()
            latencies = np.fromiter((row[0] for row in journal.execute(times, _span(since, until))), float)
        return Totals(attempts, errors, latencies)

    def sample(
        self,
        since: datetime,
        until: datetime,
        most: int,
        rng: np.random.Generator,
        of: tuple[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """At most `most` whole answers with texts and feedback; `of` an adapter (name, digest), or all."""
        where = OWN if of else WHOLE
        query = f"SELECT i.request_id FROM interactions i WHERE {where} ORDER BY i.ts, i.request_id"
        with self._open() as journal:
            if journal is None:
                return []
            names = [row[0] for row in journal.execute(query, (*_span(since, until), *(of or ())))]
            drawn = [names[i] for i in sorted(rng.permutation(len(names))[:most].tolist())]
            chunks = (drawn[first : first + CHUNK] for first in range(0, len(drawn), CHUNK))
            return [row for names in chunks for row in _rows(journal, names)]

    def first(self, until: datetime, most: int, of: tuple[str, str]) -> list[dict[str, Any]]:
        """The first answers that an adapter gave to users: what it was like when it was new."""
        query = f"{JOINED} WHERE {OWN} ORDER BY i.ts, i.request_id LIMIT ?"
        with self._open() as journal:
            if journal is None:
                return []
            found = journal.execute(query, (*_span(datetime.min, until), *of, most))
            return [_plain(row) for row in found]

    def ratings(self, since: datetime, until: datetime, of: tuple[str, str]) -> list[dict[str, Any]]:
        """tenant, subject_id and newest rating of an adapter's rated answers, in order of time."""
        joined = f"{JOINED} WHERE {OWN} ORDER BY i.ts, i.request_id"
        query = f"SELECT tenant, subject_id, rating FROM ({joined}) WHERE rating NOT NULL"
        with self._open() as journal:
            if journal is None:
                return []
            return [dict(row) for row in journal.execute(query, (*_span(since, until), *of))]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        if not self._path.exists():
            yield None
            return
        connection = connect(self._path)
        try:
            yield connection
        finally:
            connection.close()


def who(adapter: Adapter | None) -> tuple[str, str]:
    """An adapter's name and digest in the journal; None is the bare base model."""
    return (adapter.version, adapter.digest) if adapter else (BASE, BASE)


def _rows(journal: sqlite3.Connection, names: list[str]) -> list[dict[str, Any]]:
    marks = ", ".join("?" * len(names))
    query = f"{JOINED} WHERE i.request_id IN ({marks}) ORDER BY i.ts, i.request_id"
    return [_plain(row) for row in journal.execute(query, names)]


def _plain(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "messages": json.loads(row["messages"])}


def _span(since: datetime, until: datetime) -> tuple[str, str]:
    moments = (moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC) for moment in (since, until))
    first, last = (moment.isoformat(timespec="microseconds") for moment in moments)
    return first, last
