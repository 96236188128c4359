"""The candidate's answers beside production's: what the rollout analysis and the page's rollout view read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.core.traffic_split import Adapter
from pipelines.stores.journal.tables import ERRORS, FEEDBACK, INTERACTIONS, name_and_digest

Query = sa.Select[Any]
I, F = INTERACTIONS.c, FEEDBACK.c  # noqa: E741  # short, as every query is full of them


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


def compared_answers(since: datetime, candidate: Adapter, production: Adapter | None) -> Query:
    """All attempts of both sides with their first feedback, in the order of writing."""
    columns = [column for column in I if column.name not in ("rowid", "messages")]
    query = sa.select(*columns, F.seq, F.rating, F.correction).select_from(_with_first_feedback(INTERACTIONS))
    return query.where(_compared(since, candidate, production)).order_by(I.rowid)


def newest_outcomes(since: datetime, candidate: Adapter, production: Adapter | None, most: int) -> Query:
    """At most `most` of the newest attempts of both sides, the newest first."""
    names = ("request_id", "adapter", "digest", "fault", "refused", "cached", "latency_ms", "ts")
    newest = (
        sa.select(*(I[name] for name in names))
        .where(_compared(since, candidate, production))
        .order_by(I.ts.desc())
        .limit(most)
        .subquery()
    )
    return sa.select(newest, F.rating).select_from(_with_first_feedback(newest)).order_by(newest.c.ts.desc())


def tenants(since: datetime, until: datetime) -> Query:
    """Each tenant with its whole answers in a time span, and how many of them were rated."""
    rated = sa.select(F.request_id).distinct().subquery()
    joined = INTERACTIONS.outerjoin(rated, rated.c.request_id == I.request_id)
    return (
        sa.select(
            I.tenant, sa.func.count().label("answers"), sa.func.count(rated.c.request_id).label("rated")
        )
        .select_from(joined)
        .where(I.ts >= since, I.ts < until, I.parent.is_(None), I.fault == "")
        .group_by(I.tenant)
    )


def _with_first_feedback(answers: sa.FromClause) -> sa.FromClause:
    other = FEEDBACK.alias()
    first = sa.select(sa.func.min(other.c.seq)).where(other.c.request_id == answers.c.request_id)
    return answers.outerjoin(FEEDBACK, F.seq == first.correlate(answers).scalar_subquery())


def _compared(since: datetime, candidate: Adapter, production: Adapter | None) -> sa.ColumnElement[bool]:
    """The candidate's attempts and production's, without those that stood in for another adapter's
    (fallback), that a client did not wait for (aborted), or for which there was too much to do (full).
    """
    is_candidate = sa.and_(I.adapter == candidate.version, I.digest == candidate.digest)
    is_production = sa.and_(I.adapter == name_and_digest(production)[0], I.route == "production")
    counts = sa.and_(I.ts >= since, I.fault.not_in(("aborted", "full")), ~I.fallback)
    return sa.and_(counts, sa.or_(is_candidate, is_production))


def outcome(row: sa.RowMapping, candidate: Adapter) -> Outcome:
    """One row of `newest_outcomes`."""
    return Outcome(**_outcome_fields(row, candidate))


def _outcome_fields(row: sa.RowMapping, candidate: Adapter) -> dict[str, Any]:
    is_error = row["fault"] in ERRORS
    return {
        "is_candidate": (row["adapter"], row["digest"]) == (candidate.version, candidate.digest),
        "is_error": is_error,
        "refused": row["refused"],
        "latency_ms": None if is_error or row["cached"] else row["latency_ms"],
        "rating": row["rating"],
    }


def compared_answer(row: sa.RowMapping, candidate: Adapter) -> ComparedAnswer:
    """One row of `compared_answers`."""
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
