"""Adds a spool's entries to the journal in PostgreSQL: rows, feedback, and counts of a shadow's copies.

One gateway at a time does that, under a lock which its transaction holds. So numbers that PostgreSQL gives
to rows and to feedback are in the order in which they can be seen, and a later reader never finds a new row
before one that an earlier reader saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, get_args

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipelines.stores.journal.entries import CopyFate, merged
from pipelines.stores.journal.spool import UNREADABLE, Spooled
from pipelines.stores.journal.tables import (
    FEEDBACK,
    FEEDBACK_WAITING,
    INTERACTIONS,
    SHADOW_COPIES,
    SHIPPING,
    SPOOLS,
)

# What is wrong with an entry. Other errors are about the server, and all is tried again.
OF_THE_ENTRY = (sa.exc.DataError, sa.exc.IntegrityError, ValueError, TypeError, KeyError)
FATES = get_args(CopyFate)
Said = dict[str, Any]  # feedback: at, request_id, tenant, rating, correction


def ship(connection: sa.Connection, source: str, entries: Sequence[Spooled]) -> list[tuple[int, str]]:
    """Store entries that have not arrived before, in the transaction under way.

    Returns the numbers of those that cannot be stored, each with the error.
    """
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SHIPPING)))
    arrived = arrived_through(connection, source)
    new = [entry for entry in entries if entry.number > arrived]
    damaged = [(entry.number, UNREADABLE) for entry in new if entry.kind == UNREADABLE]
    refused = _store(connection, source, [entry for entry in new if entry.kind != UNREADABLE])
    mark = insert(SPOOLS).values(id=source, shipped=entries[-1].number)
    newer = sa.func.greatest(SPOOLS.c.shipped, mark.excluded.shipped)
    connection.execute(mark.on_conflict_do_update(index_elements=["id"], set_={"shipped": newer}))
    return sorted([*damaged, *refused])


def arrived_through(connection: sa.Connection, source: str) -> int:
    """The number of the newest entry of a spool that has arrived; 0 for none."""
    return connection.scalar(sa.select(SPOOLS.c.shipped).where(SPOOLS.c.id == source)) or 0


def close_source(connection: sa.Connection, source: str) -> None:
    """A gateway is gone: copies that it was working on come to nothing, as when it starts again."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SHIPPING)))
    _drop_open_copies(connection, source)


def feedback_without_answer(connection: sa.Connection, before: datetime) -> int:
    """How much feedback from before a moment still waits for its answer."""
    waiting = FEEDBACK_WAITING.c.at < before
    return connection.scalar(sa.select(sa.func.count()).select_from(FEEDBACK_WAITING).where(waiting)) or 0


def _store(connection: sa.Connection, source: str, entries: Sequence[Spooled]) -> list[tuple[int, str]]:
    """All entries at once; where one of them is refused, one by one."""
    try:
        with connection.begin_nested():
            _store_all(connection, source, entries)
        return []
    except OF_THE_ENTRY as error:
        if len(entries) == 1:
            return [(entries[0].number, type(getattr(error, "orig", None) or error).__name__)]
    return [found for entry in entries for found in _store(connection, source, [entry])]


def _store_all(connection: sa.Connection, source: str, entries: Sequence[Spooled]) -> None:
    copies = [entry.body for entry in entries if entry.kind == "ShadowCopy"]
    rows = [entry.body for entry in entries if entry.kind == "Interaction"]
    said = [entry.body for entry in entries if entry.kind == "Feedback"]
    _add_rows(connection, [*rows, *(copy["row"] for copy in copies if copy["row"])])
    _settle(connection, [_typed(one, "at") for one in said], [row["request_id"] for row in rows])
    for place, entry in enumerate(entries):
        if entry.kind == "Start":
            _count_copies(connection, source, entries[:place])
            _drop_open_copies(connection, source)
            return _count_copies(connection, source, entries[place:])
    return _count_copies(connection, source, entries)


def _add_rows(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        booleans = [column.name for column in INTERACTIONS.c if isinstance(column.type, sa.Boolean)]
        typed = [_typed(row, "ts") | {name: bool(row[name]) for name in booleans} for row in rows]
        connection.execute(insert(INTERACTIONS).on_conflict_do_nothing(), typed)


def _settle(connection: sa.Connection, said: Sequence[Said], answered: Sequence[str]) -> None:
    """Store feedback on answers that are here, also what waited for these; the rest waits."""
    waited = _taken(connection, answered)
    if not (said or waited):
        return
    answers, last = _answers(connection, [*waited, *said])
    new, waiting = [], []
    for one in sorted([*waited, *said], key=lambda one: one["at"]):
        answer = answers.get((one["request_id"], one["tenant"]))
        if answer is None:
            waiting.append(one)
            continue
        kept = on_top(last.get(one["request_id"]), one | ({"correction": None} if answer.opt_out else {}))
        if kept:
            last[one["request_id"]] = kept
            new.append({name: kept[name] for name in ("at", "request_id", "rating", "correction")})
    if new:
        connection.execute(FEEDBACK.insert(), new)
    if waiting:
        connection.execute(FEEDBACK_WAITING.insert(), waiting)


def on_top(last: Said | None, said: Said) -> Said | None:
    """What is known of an answer once `said` has arrived; None if that changes nothing.

    Feedback that was said earlier and arrives later comes below what is known.
    """
    if last is None:
        return said
    known, new = (last["rating"], last["correction"]), (said["rating"], said["correction"])
    found = merged(known, *new) if said["at"] >= last["at"] else merged(new, *known)
    if found == known:
        return None
    rating, correction = found
    return said | {"at": max(said["at"], last["at"]), "rating": rating, "correction": correction}


def _taken(connection: sa.Connection, answered: Sequence[str]) -> list[Said]:
    """The feedback that waited for these answers; it does so no longer."""
    if not answered:
        return []
    columns = [column for column in FEEDBACK_WAITING.c if column.name != "seq"]
    here = FEEDBACK_WAITING.c.request_id.in_(answered)
    return [
        dict(row)
        for row in connection.execute(FEEDBACK_WAITING.delete().where(here).returning(*columns)).mappings()
    ]


def _answers(
    connection: sa.Connection, said: Iterable[Said]
) -> tuple[dict[tuple[str, str], Any], dict[str, Said]]:
    """(request, tenant) -> the answer; request -> its newest feedback."""
    ids = sorted({one["request_id"] for one in said})
    answer = sa.select(INTERACTIONS.c.request_id, INTERACTIONS.c.tenant, INTERACTIONS.c.opt_out)
    answer = answer.where(INTERACTIONS.c.request_id.in_(ids), INTERACTIONS.c.parent.is_(None))
    newest = sa.select(FEEDBACK).where(FEEDBACK.c.request_id.in_(ids)).order_by(FEEDBACK.c.seq)
    known = {row["request_id"]: dict(row) for row in connection.execute(newest).mappings()}
    return {(row.request_id, row.tenant): row for row in connection.execute(answer)}, known


def _count_copies(connection: sa.Connection, source: str, entries: Iterable[Spooled]) -> None:
    counts = Counter(
        (entry.body["promotion"], entry.body["fate"]) for entry in entries if entry.kind == "ShadowCopy"
    )
    for promotion in sorted({promotion for promotion, _ in counts}):
        found = {fate: counts[promotion, fate] for fate in FATES}
        add = insert(SHADOW_COPIES).values(source=source, promotion=promotion, **found)
        sums = {fate: SHADOW_COPIES.c[fate] + add.excluded[fate] for fate in FATES}
        connection.execute(add.on_conflict_do_update(index_elements=["source", "promotion"], set_=sums))


def _drop_open_copies(connection: sa.Connection, source: str) -> None:
    """Copies that this gateway was working on when it was killed."""
    table = SHADOW_COPIES.c
    rest = table.offered - table.answered - table.failed
    connection.execute(SHADOW_COPIES.update().where(table.source == source).values(dropped=rest))


def _typed(row: dict[str, Any], moment: str) -> dict[str, Any]:
    return {**row, moment: datetime.fromisoformat(row[moment])}
