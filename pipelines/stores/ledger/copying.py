"""Copies a ledger, link by link: from the SQLite file of one machine to a database that machines share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa

from pipelines.core.errors import InputError, IntegrityError
from pipelines.stores.ledger import chain
from pipelines.stores.ledger.ledger import Ledger
from pipelines.stores.ledger.tables import AUDIT, CHAINED

LINKS_AT_ONCE = 1_000
Row = dict[str, Any]


def copy_ledger(source: Ledger, target: Ledger) -> int:
    """Copy every row and its link; returns how many there are. Interrupted, it goes on where it ended.

    Raises InputError where the target holds something else than the beginning of the source, IntegrityError
    where the source is broken.
    """
    links = source.verify()
    with source.reading() as connection, target.reading() as there:
        done = chain.end(there)
        if done.links and chain.hash_at(connection, done.links) != done.hash:
            raise InputError(
                f"The other ledger has {done.links} links of its own, so this one cannot follow them.",
                "Take an empty database, or remove what was tried there.",
            )
    with source.reading() as connection:
        whole = _links_with_rows(connection)
        for _ in islice(whole, done.links):
            pass
        while batch := list(islice(whole, LINKS_AT_ONCE)):
            target.take_over(batch)
    return links


def _links_with_rows(connection: sa.Connection) -> Iterator[tuple[sa.Table, Row, Row]]:
    """(table, row, link) in the order of the chain. A table of SQLite keeps the order of its links."""
    rows = {table.name: _rows(connection, table, sa.text("rowid")) for table in CHAINED}
    tables = {table.name: table for table in CHAINED}
    for link in _rows(connection, AUDIT, AUDIT.c.seq):
        row = next(rows[link["table_name"]])
        if chain.key_of(tables[link["table_name"]], row) != link["row_key"]:
            raise IntegrityError(
                f"Link {link['seq']} of the ledger names {link['row_key']}, and the next row of "
                f"{link['table_name']} is another one.",
                "Put the ledger back from a backup: its rows were written in another order.",
            )
        yield tables[link["table_name"]], row, link


def _rows(connection: sa.Connection, table: sa.Table, order: Any) -> Iterator[Row]:
    found = connection.execution_options(yield_per=LINKS_AT_ONCE).execute(sa.select(table).order_by(order))
    yield from map(dict, found.mappings())
