"""Copies MLflow's database: its rows as they are, but for the addresses of files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.store.model_registry.dbmodels.models
import mlflow.store.tracking.dbmodels.models  # noqa: F401  # both fill the metadata below
import sqlalchemy as sa
from mlflow.store.db.base_sql_model import Base
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.dialects import postgresql

from pipelines.stores.sql.database import connect_to, patiently

ROWS_AT_ONCE = 1_000
WAIT_S = 60.0
Row = dict[str, Any]


def copy_registry(source: str, source_root: str, target: str, target_root: str) -> int:
    """Copy every row of an SQLite database to one on PostgreSQL; returns how many there are.

    Rows that are there already stay. Addresses below `source_root`, the folder of MLflow's files, are below
    `target_root` there.
    """
    SqlAlchemyStore(source, source_root)  # refuses a database of another version of MLflow
    SqlAlchemyStore(target, target_root)  # makes the tables
    old = source_root if "://" in source_root else Path(source_root).resolve().as_uri()
    count, reader, writer = 0, connect_to(source), connect_to(target)
    try:
        for table in Base.metadata.sorted_tables:
            with reader.connect() as connection:
                for batch in _batches(connection, table):
                    moved = [_moved(row, old, target_root) for row in batch]
                    patiently(partial(_insert, writer, table, moved), WAIT_S)
                    count += len(moved)
        with writer.begin() as connection:
            for table in Base.metadata.sorted_tables:
                _go_on_counting(connection, table)
    finally:
        reader.dispose()
        writer.dispose()
    return count


def _batches(connection: sa.Connection, table: sa.Table) -> Iterator[list[Row]]:
    found = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(sa.select(table))
    for rows in found.mappings().partitions(ROWS_AT_ONCE):
        yield [dict(row) for row in rows]


def _insert(engine: sa.Engine, table: sa.Table, rows: list[Row]) -> None:
    with engine.begin() as connection:
        connection.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)


def _moved(row: Row, old: str, new: str) -> Row:
    return {
        name: new + value.removeprefix(old)
        if isinstance(value, str) and f"{value}/".startswith(f"{old}/")  # not that of a folder named alike
        else value
        for name, value in row.items()
    }


def _go_on_counting(connection: sa.Connection, table: sa.Table) -> None:
    """Set a table's sequence behind its largest number."""
    column = table.autoincrement_column
    if column is None:
        return
    sequence = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, column.name)))
    most = connection.scalar(sa.select(sa.func.max(column)))
    if sequence and most is not None:
        connection.execute(sa.select(sa.func.setval(sequence, most)))
