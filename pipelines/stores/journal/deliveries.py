"""Which answers a night delivers: chosen once, recorded in `delivered`, and read from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta, tzinfo
from typing import Any

import sqlalchemy as sa

from pipelines.core.errors import InputError
from pipelines.stores.journal.tables import (
    COLUMNS,
    DELIVERED,
    FEEDBACK,
    FEEDBACK_WAITING,
    INTERACTIONS,
    midnight,
)
from pipelines.stores.sql import database

I, F, D = INTERACTIONS.c, FEEDBACK.c, DELIVERED.c  # noqa: E741


@contextmanager
def changing(url: str) -> Iterator[sa.Connection]:
    """A transaction on the journal at an SQLAlchemy URL. Raises InputError if there is none."""
    engine = database.connect_to(url, wait_s=5.0)
    try:
        if not (database.exists(url) and sa.inspect(engine).has_table(INTERACTIONS.name)):
            raise InputError(
                f"The gateway's journal {sa.make_url(url).render_as_string()} does not exist.",
                "Start the gateway once: make serve.",
            )
        with engine.begin() as connection:
            if not database.is_postgres(connection):
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    finally:
        engine.dispose()


def delivery_path(night: date) -> str:
    """Where the night's delivery lies below `shared_root` once it is written."""
    return f"gateway/interactions/dt={night}/part.parquet"


def choose(journal: sa.Connection, night: date, late_days: int, zone: tzinfo) -> None:
    """Record what the night delivers; a night that was recorded before stays as it is.

    That is the answers of its day in `zone`, and those of `late_days` before it that are new or have newer
    feedback than what was delivered of them.
    """
    if journal.scalar(sa.select(1).where(D.night == night).limit(1)):
        return
    first, end = midnight(night - timedelta(days=late_days), zone), midnight(night + timedelta(days=1), zone)
    newest = sa.func.coalesce(sa.func.max(F.seq), 0)
    before = DELIVERED.alias()
    delivered = sa.select(sa.func.max(before.c.feedback_seq)).where(before.c.request_id == I.request_id)
    # Whole answers that users got. Rows with a parent are a shadow's answers or failed attempts.
    chosen = (
        sa.select(sa.literal(night, sa.Date), I.request_id, newest)
        .select_from(INTERACTIONS.outerjoin(FEEDBACK, F.request_id == I.request_id))
        .where(I.ts >= first, I.ts < end, I.fault == "", I.parent.is_(None))
        .group_by(I.request_id)
        .having(newest > sa.func.coalesce(delivered.correlate(INTERACTIONS).scalar_subquery(), -1))
    )
    journal.execute(DELIVERED.insert().from_select(["night", "request_id", "feedback_seq"], chosen))


def chosen_rows(journal: sa.Connection, night: date) -> list[dict[str, Any]]:
    """The rows that the night delivers, each with the feedback it had when it was chosen."""
    columns = [*(I[name] for name in COLUMNS), F.rating, F.correction, F.at.label("feedback_ts")]
    joined = DELIVERED.join(INTERACTIONS, I.request_id == D.request_id)
    joined = joined.outerjoin(FEEDBACK, F.seq == D.feedback_seq)
    query = sa.select(*columns).select_from(joined).where(D.night == night)
    return [dict(row) for row in journal.execute(query.order_by(I.ts, I.request_id)).mappings()]


def forget(journal: sa.Connection, before: date) -> None:
    """Delete all answers from before a day, and what belongs to them."""
    journal.execute(INTERACTIONS.delete().where(I.ts < midnight(before)))
    for table in (FEEDBACK, DELIVERED):
        answered = sa.exists().where(I.request_id == table.c.request_id).correlate(table)
        journal.execute(table.delete().where(~answered))
    if database.is_postgres(journal):  # SQLite needs none: the answer is there before its feedback
        journal.execute(FEEDBACK_WAITING.delete().where(FEEDBACK_WAITING.c.at < midnight(before)))
