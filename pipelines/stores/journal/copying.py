"""Copies a journal from the SQLite file of one machine to PostgreSQL."""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipelines.core.errors import InputError
from pipelines.stores.journal.tables import (
    DELIVERED,
    FEEDBACK,
    INTERACTIONS,
    MIGRATIONS,
    SHADOW_COPIES,
    SPOOLS,
)
from pipelines.stores.sql.database import connect_to, exists, patiently

ROWS_AT_ONCE = 1_000
WAIT_S = 60.0
NUMBERED = (
    (INTERACTIONS, "rowid"),
    (FEEDBACK, "seq"),
)  # numbers that give an order go on behind the copied ones


def copy_journal(source: str, target: str) -> int:
    """Copy answers, feedback and deliveries; returns how many rows there are. Rows that are there stay.

    Raises InputError once gateways have written to the target: their numbers could be those of copied rows.
    """
    if not exists(source):
        return 0
    count, reader, writer = 0, connect_to(source, read_only=True), connect_to(target)
    try:
        patiently(partial(_refuse_used, writer), WAIT_S)
        made = set(sa.inspect(reader).get_table_names())
        for table in (INTERACTIONS, FEEDBACK, DELIVERED, SHADOW_COPIES):
            if table.name in made:
                count += _copy(reader, writer, table)
        with writer.begin() as connection:
            for table, column in NUMBERED:
                _go_on_counting(connection, table, column)
    finally:
        reader.dispose()
        writer.dispose()
    return count


def _refuse_used(writer: sa.Engine) -> None:
    with writer.connect() as connection:
        MIGRATIONS.require(connection)
        if connection.scalar(sa.select(sa.func.count()).select_from(SPOOLS)):
            raise InputError(
                f"Gateways have written to the journal in {writer.url.database} already.",
                "Move the home before the first gateway starts there, or take an empty database.",
            )


def _copy(reader: sa.Engine, writer: sa.Engine, table: sa.Table) -> int:
    count = 0
    with reader.connect() as connection:
        found = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(sa.select(table))
        for part in found.mappings().partitions(ROWS_AT_ONCE):
            rows = [dict(row) for row in part]
            patiently(partial(_insert, writer, table, rows), WAIT_S)
            count += len(rows)
    return count


def _insert(writer: sa.Engine, table: sa.Table, rows: list[dict[str, object]]) -> None:
    with writer.begin() as connection:
        connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _go_on_counting(connection: sa.Connection, table: sa.Table, column: str) -> None:
    sequence = sa.func.pg_get_serial_sequence(table.name, column)
    most = sa.select(sa.func.max(table.c[column])).scalar_subquery()
    connection.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(most, 0) + 1, False)))
