"""Reads the journal: live traffic for the hourly watch, evidence for a rollout, numbers for the page.

Everything is read only. Without a journal there was no traffic.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, get_args

import sqlalchemy as sa

from pipelines.core.traffic_split import Adapter
from pipelines.stores.journal import comparison
from pipelines.stores.journal.comparison import ComparedAnswer, Outcome, compared_answer, outcome
from pipelines.stores.journal.entries import CopyFate
from pipelines.stores.journal.tables import COLUMNS, ERRORS, FEEDBACK, INTERACTIONS, SHADOW_COPIES, midnight
from pipelines.stores.sql import database

I, F, S = INTERACTIONS.c, FEEDBACK.c, SHADOW_COPIES.c  # noqa: E741
IDS_AT_ONCE = 500
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Totals:
    """`attempts` to answer users and `errors` among them; seconds per whole answer, cached ones left out."""

    attempts: int
    errors: int
    latencies_s: array[float]


class JournalReader:
    """The journal at an SQLAlchemy URL. `of` is an adapter's name and digest, see `name_and_digest`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def exists(self) -> bool:
        """Whether there is a journal."""
        with self._open() as journal:
            return journal is not None

    def totals(self, since: datetime, until: datetime) -> Totals:
        """Counts and latencies of all attempts in a time span; `until` is excluded."""
        span = attempts(since, until)
        errors = sa.func.count(sa.case((I.fault.in_(ERRORS), 1)))
        times = sa.select(I.latency_ms).where(span, I.fault == "", ~I.cached)
        with self._open() as journal:
            if journal is None:
                return Totals(0, 0, array("d"))
            total, failed = journal.execute(sa.select(sa.func.count(), errors).where(span)).one()
            return Totals(total, failed, array("d", (ms / 1000 for ms in journal.scalars(times))))

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
        query = _in_order(sa.select(I.request_id).where(readable(since, until, of)))
        with self._open() as journal:
            if journal is None:
                return []
            ids = list(journal.scalars(query))
            chosen = [ids[place] for place in sorted(choose(len(ids)))]
            parts = (chosen[start : start + IDS_AT_ONCE] for start in range(0, len(chosen), IDS_AT_ONCE))
            return [row for part in parts for row in _with_texts(journal, I.request_id.in_(part))]

    def first_answers(self, until: datetime, most: int, of: tuple[str, str]) -> list[dict[str, Any]]:
        """The first answers that an adapter gave to users: how it behaved when it was new."""
        with self._open() as journal:
            return [] if journal is None else _with_texts(journal, readable(BEGINNING, until, of), most)

    def ratings(self, since: datetime, until: datetime, of: tuple[str, str]) -> list[dict[str, Any]]:
        """tenant, subject_id and newest rating of an adapter's rated answers, in order of time."""
        query = with_newest_feedback(I.tenant, I.subject_id, F.rating)
        query = _in_order(query.where(readable(since, until, of), F.rating.is_not(None)))
        with self._open() as journal:
            if journal is None:
                return []
            return [dict(row) for row in journal.execute(query).mappings()]

    def compared_answers(
        self, since: datetime, candidate: Adapter, production: Adapter | None
    ) -> list[ComparedAnswer]:
        """The candidate's answers and production's with the first feedback, in the order of writing."""
        query = comparison.compared_answers(since, candidate, production)
        with self._open() as journal:
            if journal is None:
                return []
            return [compared_answer(row, candidate) for row in journal.execute(query).mappings()]

    def tenants(self, since: datetime, until: datetime) -> list[tuple[str, int, int]]:
        """Each tenant with its whole answers in a time span, and how many of them were rated."""
        with self._open() as journal:
            if journal is None:
                return []
            rows = journal.execute(comparison.tenants(since, until)).mappings()
            return [(row["tenant"], row["answers"], row["rated"]) for row in rows]

    def newest_outcomes(
        self, since: datetime, candidate: Adapter, production: Adapter | None, most: int
    ) -> list[Outcome]:
        """At most `most` of the newest `compared_answers`, the newest first, without texts."""
        query = comparison.newest_outcomes(since, candidate, production, most)
        with self._open() as journal:
            if journal is None:
                return []
            return [outcome(row, candidate) for row in journal.execute(query).mappings()]

    def shadow_copies(self, promotions: Sequence[int]) -> dict[str, int]:
        """How many copies were offered, answered, failed and dropped while these promotions were live.

        Those that are offered and nothing else are under way.
        """
        sums = [sa.func.coalesce(sa.func.sum(S[fate]), 0).label(fate) for fate in get_args(CopyFate)]
        query = sa.select(*sums).where(S.promotion.in_(promotions))
        with self._open() as journal:
            if journal is None or not sa.inspect(journal).has_table(SHADOW_COPIES.name):
                return {}
            return {fate: int(count) for fate, count in journal.execute(query).mappings().one().items()}

    def has_answers(self, day: date, zone: tzinfo) -> bool:
        """Whether any user got a whole answer on a day in `zone`."""
        first, end = midnight(day, zone), midnight(day + timedelta(days=1), zone)
        whole = sa.and_(I.ts >= first, I.ts < end, I.fault == "", I.parent.is_(None))
        with self._open() as journal:
            return journal is not None and journal.scalar(sa.select(1).where(whole).limit(1)) is not None

    def has_answer(self, request_id: str, tenant: str) -> bool:
        """Whether a tenant's request has a row of its own."""
        query = sa.select(1).where(I.request_id == request_id, I.tenant == tenant, I.parent.is_(None))
        with self._open() as journal:
            return journal is not None and journal.scalar(query) is not None

    @contextmanager
    def _open(self) -> Iterator[sa.Connection | None]:
        """A read-only connection; None while there is no journal, or its tables are not made yet."""
        if not database.exists(self._url):
            yield None
            return
        engine = database.connect_to(self._url, wait_s=5.0, read_only=True)
        try:
            with engine.connect() as connection:
                names = sa.inspect(connection).get_table_names()
                yield connection if {"interactions", "feedback"} <= set(names) else None
        finally:
            engine.dispose()


def attempts(since: datetime, until: datetime) -> sa.ColumnElement[bool]:
    """Attempts to answer users. A shadow answers nobody. No adapter is to blame for a client that went away
    ("aborted") or for a canary's full queue ("full").
    """
    in_span = sa.and_(I.ts >= since, I.ts < until)
    return sa.and_(in_span, I.route != "shadow", I.fault.not_in(("aborted", "full")))


def readable(since: datetime, until: datetime, of: tuple[str, str] | None = None) -> sa.ColumnElement[bool]:
    """Whole answers, of one adapter if `of` is given, to people who did not opt out."""
    found = sa.and_(attempts(since, until), I.fault == "", ~I.opt_out)
    return sa.and_(found, I.adapter == of[0], I.digest == of[1]) if of else found


def with_newest_feedback(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """These columns of answers and their newest feedback."""
    other = FEEDBACK.alias()
    newest = sa.select(sa.func.max(other.c.seq)).where(other.c.request_id == I.request_id)
    on = F.seq == newest.correlate(INTERACTIONS).scalar_subquery()
    return sa.select(*columns).select_from(INTERACTIONS.outerjoin(FEEDBACK, on))


def _in_order(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(I.ts, I.request_id)


def _with_texts(
    journal: sa.Connection, where: sa.ColumnElement[bool], most: int | None = None
) -> list[dict[str, Any]]:
    columns = [I[name] for name in COLUMNS]
    query = _in_order(with_newest_feedback(*columns, F.rating, F.correction).where(where)).limit(most)
    rows = journal.execute(query).mappings()
    return [{**row, "messages": json.loads(row["messages"])} for row in rows]
