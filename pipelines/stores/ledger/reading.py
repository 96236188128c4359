"""Reads a ledger without writing: for whoever must never create or change one."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pipelines.stores.sql.database import connect_to, exists


def read_rows(url: str, *queries: sa.Select[Any]) -> list[list[dict[str, Any]]]:
    """The rows of each query. A ledger or a table that is not there yet has none, and is not created."""
    if not exists(url):
        return [[] for _ in queries]
    engine = connect_to(url, read_only=True)
    try:
        with engine.connect() as connection:
            there = set(sa.inspect(connection).get_table_names())
            return [_rows(connection, query) if _tables(query) <= there else [] for query in queries]
    finally:
        engine.dispose()


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _tables(query: sa.Select[Any]) -> set[str]:
    return {source.name for source in query.get_final_froms() if isinstance(source, sa.Table)}
