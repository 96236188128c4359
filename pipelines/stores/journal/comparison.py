"""The candidate's answers beside production's: what the rollout analysis and the page's rollout view read."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.core.traffic_split import Adapter
from pipelines.stores.journal.tables import ERRORS, name_and_digest, timestamp

FIRST_FEEDBACK = """
    LEFT JOIN feedback f ON f.seq = (SELECT min(seq) FROM feedback WHERE request_id = i.request_id)
"""
# The candidate's answers and production's, without those that stood in for another adapter's (fallback), that
# a client did not wait for (aborted), or for which there was too much to do (full).
COMPARED = """
    i.ts >= ? AND i.fault NOT IN ('aborted', 'full') AND NOT i.fallback
    AND ((i.adapter = ? AND i.digest = ?) OR (i.adapter = ? AND i.route = 'production'))
"""
COMPARED_ANSWERS = f"""
    SELECT i.*, f.seq, f.rating, f.correction FROM interactions i {FIRST_FEEDBACK}
    WHERE {COMPARED} ORDER BY i.rowid
"""
NEWEST_OUTCOMES = f"""
    SELECT i.*, f.rating
    FROM (SELECT request_id, adapter, digest, fault, refused, cached, latency_ms FROM interactions i
          WHERE {COMPARED} ORDER BY i.ts DESC LIMIT ?) i {FIRST_FEEDBACK}
"""

# Which tenants had traffic in a time span: enough answers, and enough rated ones.
TENANTS = """
    SELECT i.tenant, count(*) AS answers, count(f.request_id) AS rated FROM interactions i
    LEFT JOIN (SELECT DISTINCT request_id FROM feedback) f USING (request_id)
    WHERE i.ts >= ? AND i.ts < ? AND i.parent IS NULL AND i.fault = '' GROUP BY i.tenant
"""


@dataclass(frozen=True)
class Outcome:
    """How one attempt of the candidate or of production ended. `latency_ms`: None if cached or failed."""

    is_candidate: bool
    is_error: bool
    refused: bool
    latency_ms: float | None
    rating: int | None  # of the first feedback


@dataclass(frozen=True)
class ComparedAnswer(Outcome):
    """An outcome with what pairs and counts it. `feedback_seq` orders feedback by its arrival."""

    request_id: str
    parent: str | None
    person: tuple[str, str]  # tenant and subject
    route: str
    fault: str
    completion: str
    feedback_seq: int | None
    correction: str | None

    @property
    def tenant(self) -> str:
        return self.person[0]


def both_sides(since: datetime, candidate: Adapter, production: Adapter | None) -> tuple[str, ...]:
    """The values that both queries take."""
    return timestamp(since), candidate.version, candidate.digest, name_and_digest(production)[0]


def outcome(row: sqlite3.Row, candidate: Adapter) -> Outcome:
    """One row of NEWEST_OUTCOMES."""
    return Outcome(**_outcome_fields(row, candidate))


def _outcome_fields(row: sqlite3.Row, candidate: Adapter) -> dict[str, Any]:
    is_error = row["fault"] in ERRORS
    return {
        "is_candidate": (row["adapter"], row["digest"]) == (candidate.version, candidate.digest),
        "is_error": is_error,
        "refused": bool(row["refused"]),
        "latency_ms": None if is_error or row["cached"] else row["latency_ms"],
        "rating": row["rating"],
    }


def compared_answer(row: sqlite3.Row, candidate: Adapter) -> ComparedAnswer:
    """One row of COMPARED_ANSWERS."""
    return ComparedAnswer(
        **_outcome_fields(row, candidate),
        request_id=row["request_id"],
        parent=row["parent"],
        person=(row["tenant"], row["subject_id"]),
        route=row["route"],
        fault=row["fault"],
        completion=row["completion"],
        feedback_seq=row["seq"],
        correction=row["correction"],
    )
