"""The hash chain: one link a row, each with the hash of the link before it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pipelines.core.contract import canonical_json
from pipelines.core.errors import IntegrityError
from pipelines.stores.ledger.head import Head
from pipelines.stores.ledger.tables import AUDIT, CHAINED

GENESIS = "0" * 64  # the hash before the first link


def key_of(table: sa.Table, row: Mapping[str, Any]) -> str:
    """The values of a row's primary key, as one text."""
    return "|".join(str(row[column.name]) for column in table.primary_key)


def head(connection: sa.Connection) -> str:
    """Hash of the newest link."""
    return end(connection).hash


def end(connection: sa.Connection) -> Head:
    """How many links there are, and the hash of the newest."""
    last = connection.execute(sa.select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(1)).first()
    return Head(last.seq, last.hash) if last else Head(0, GENESIS)


def hash_at(connection: sa.Connection, number: int) -> str | None:
    """Hash of a link; None where there is none."""
    return connection.scalar(sa.select(AUDIT.c.hash).where(AUDIT.c.seq == number))


def link(connection: sa.Connection, table: sa.Table, *rows: dict[str, Any]) -> None:
    """Add a link for each row, in the transaction that writes the rows."""
    last = end(connection)
    at, links, previous = datetime.now(UTC).isoformat(), [], last.hash
    for seq, row in enumerate(rows, start=last.links + 1):
        key, row_sha256 = key_of(table, row), _row_sha256(row)
        link_hash = _link_hash(seq, at, table.name, key, row_sha256, previous)
        values = {"seq": seq, "at": at, "table_name": table.name, "row_key": key}
        links.append({**values, "row_sha256": row_sha256, "previous": previous, "hash": link_hash})
        previous = link_hash
    connection.execute(AUDIT.insert(), links)


def verify(connection: sa.Connection) -> int:
    """Compute every hash again and compare; returns how many links there are. Raises IntegrityError."""
    links = connection.execute(sa.select(AUDIT).order_by(AUDIT.c.seq)).all()
    rows, previous = _row_hashes(connection), GENESIS
    for number, found in enumerate(links, start=1):
        name = f"{found.table_name} {found.row_key}"
        expected = _link_hash(number, found.at, found.table_name, found.row_key, found.row_sha256, previous)
        if (found.seq, found.previous, found.hash) != (number, previous, expected):
            raise _broken(f"link {number} ({name}) does not follow the link before it")
        if rows.pop((found.table_name, found.row_key), None) != found.row_sha256:
            raise _broken(f"the row {name} was changed or removed")
        previous = found.hash
    if rows:
        raise _broken(f"{len(rows)} rows have no link, the first is {' '.join(next(iter(rows)))}")
    return len(links)


def _row_hashes(connection: sa.Connection) -> dict[tuple[str, str], str]:
    """(table, key) -> sha256 of every row that should have a link."""
    return {
        (table.name, key_of(table, row)): _row_sha256(row)
        for table in CHAINED
        for row in map(dict, connection.execute(sa.select(table)).mappings())
    }


def _row_sha256(row: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(row)).hexdigest()


def _link_hash(*parts: Any) -> str:
    return hashlib.sha256(canonical_json([str(part) for part in parts])).hexdigest()


def _broken(found: str) -> IntegrityError:
    return IntegrityError(
        f"The ledger's hash chain is broken: {found}.",
        "Compare the database with a backup; something other than Nightshift wrote to it.",
    )
