"""What the judge sees of live traffic: the gateway's journal, in the order in which it was written.

A row once seen keeps its place, and only a request's first feedback counts, so a later look never changes
what an earlier one saw: the judge's tests stand on that.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pipelines.core.traffic_split import Adapter
from pipelines.policy.night.feedback import label_of, normalise
from pipelines.policy.rollout.observations import Attempt, Observations
from pipelines.stores.journal.writer import ERRORS, connect, journal_path

BASE = "base"  # the bare base model's name in a row
# Without answers that stood in for another adapter's (fallback), or that a client did not wait for.
ROWS = """
    SELECT i.request_id, i.parent, i.tenant, i.subject_id, i.adapter, i.digest, i.route, i.latency_ms,
           i.fault, i.refused, i.cached, i.completion, f.seq, f.rating, f.correction
    FROM interactions i
    LEFT JOIN feedback f ON f.seq = (SELECT min(seq) FROM feedback WHERE request_id = i.request_id)
    WHERE i.ts >= ? AND i.fault <> 'aborted' AND NOT i.fallback
    ORDER BY i.rowid
"""


def seen(
    home: str | Path,
    since: datetime,
    seconds: float,
    candidate: Adapter,
    production: Adapter | None,
    per_person: int,
) -> Observations:
    """Traffic since users (or the shadow) first met the candidate. `per_person` 0 counts all."""
    ours = (candidate.version, candidate.digest)
    other = production.version if production else BASE
    rows = [
        (row, (row["adapter"], row["digest"]) == ours)
        for row in _read(home, since)
        if (row["adapter"], row["digest"]) == ours
        or (row["adapter"] == other and row["route"] == "production")
    ]
    served = [_served(row, is_candidate) for row, is_candidate in rows]
    told = [(row, is_candidate) for row, is_candidate in rows if row["seq"] and not row["fault"]]
    rated = [
        (is_candidate, row["rating"] == 1)
        for row, is_candidate in _by_person(sorted(told, key=lambda pair: pair[0]["seq"]), per_person)
    ]
    shadows = {row["parent"]: row for row, _ in rows if row["route"] == "shadow" and not row["fault"]}
    return Observations(seconds, served, rated, _pairs(told, shadows, per_person))


def _read(home: str | Path, since: datetime) -> list[sqlite3.Row]:
    path = journal_path(home)
    if not path.exists():
        return []
    with closing(connect(path)) as connection:
        return connection.execute(
            ROWS, (since.astimezone(UTC).isoformat(timespec="microseconds"),)
        ).fetchall()


def _served(row: sqlite3.Row, is_candidate: bool) -> Attempt:
    error = row["fault"] in ERRORS
    latency = None if error or row["cached"] else row["latency_ms"]
    return Attempt(is_candidate, error, bool(row["refused"]), latency)


def _by_person(rows: Iterable[tuple[sqlite3.Row, bool]], most: int) -> Iterable[tuple[sqlite3.Row, bool]]:
    """The first `most` rows of each person on each side."""
    taken: Counter[tuple[str, str, bool]] = Counter()
    for row, is_candidate in rows:
        person = (row["tenant"], row["subject_id"], is_candidate)
        taken[person] += 1
        if not most or taken[person] <= most:
            yield row, is_candidate


def _pairs(
    told: list[tuple[sqlite3.Row, bool]], shadows: dict[str, sqlite3.Row], per_person: int
) -> list[tuple[bool, bool]]:
    """(candidate right, production right) on questions whose wanted answer production's user told."""
    both = [(row, False) for row, _ in told if row["request_id"] in shadows]
    pairs = []
    for row, _ in _by_person(sorted(both, key=lambda pair: pair[0]["seq"]), per_person):
        label = label_of(row["rating"], row["correction"], row["completion"])
        if label is not None:
            answers = (shadows[row["request_id"]]["completion"], row["completion"])
            right, other = (normalise(answer) == normalise(label) for answer in answers)
            pairs.append((right, other))
    return pairs
