"""The databases that machines share: reachable, at this version's migration, and safe from changes."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import sqlalchemy as sa

from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError
from pipelines.operations.databases import STORES, Store
from pipelines.operations.doctor.finding import Finding, failure
from pipelines.stores.sql.database import SQLITE, connect_to, dialect, patiently

OLDEST = 14  # major version of PostgreSQL
WAIT_S = 5.0
SKEW_WARN_S, SKEW_FAIL_S = 2.0, 60.0
CHANGES = ("UPDATE", "DELETE", "TRUNCATE")


def look_at_databases(config: Config) -> list[Finding]:
    """A finding a question and database; one for all where they are files of the home."""
    found: list[Finding] = []
    for store in STORES:
        url = config.path(getattr(config, store.setting))
        try:
            if dialect(url, store.setting) != SQLITE:
                found += _look_at(store, url)
        except NightshiftError as error:
            found.append(failure(store.name, error))
    return found or [Finding("ok", "databases", "Ledger and journal are SQLite files of the home.")]


def _look_at(store: Store, url: str) -> list[Finding]:
    engine = connect_to(url, WAIT_S)

    def ask() -> list[Finding]:
        with engine.connect() as connection:
            return [_version(store, connection), *_tables(store, connection), _clock(store, connection)]

    try:
        return patiently(ask, WAIT_S)
    finally:
        engine.dispose()


def _version(store: Store, connection: sa.Connection) -> Finding:
    major = int(connection.execute(sa.text("SHOW server_version_num")).scalar_one()) // 10_000
    at = connection.engine.url
    said = f"PostgreSQL {major} on {at.host} holds the {store.name} in {at.database}."
    if major < OLDEST:
        return Finding("fail", store.name, said, f"Update it to {OLDEST} or newer.")
    return Finding("ok", store.name, said)


def _tables(store: Store, connection: sa.Connection) -> list[Finding]:
    try:
        store.migrations.require(connection)
    except NightshiftError as error:
        return [failure(f"{store.name}'s tables", error)]
    at_head = Finding("ok", f"{store.name}'s tables", f"They are at migration {store.migrations.head}.")
    return [at_head, *_rights(store, connection)]


def _rights(store: Store, connection: sa.Connection) -> list[Finding]:
    """Whether the role of the steps may do what it needs, and change nothing that is there for good."""
    about, role = f"{store.name}'s rights", connection.engine.url.username
    lacks, may = [], []
    for table, needed in store.rights.items():
        lacks += [f"{verb} on {table}" for verb in needed if not _may(connection, table, verb)]
        if set(needed) == {"SELECT", "INSERT"}:
            may += [f"{verb} on {table}" for verb in CHANGES if _may(connection, table, verb)]
    if lacks:
        said = f"The role {role} lacks {lacks[0]}" + (f" and {len(lacks) - 1} more." if lacks[1:] else ".")
        return [Finding("fail", about, said, "Run `nightshift databases --as OWNER`.")]
    if may:
        said = f"The role {role} could change what is written for good: it has {may[0]}."
        remedy = "Let another role own the tables: `nightshift databases --as OWNER`."
        return [Finding("warn", about, said, remedy)]
    return [
        Finding("ok", about, f"The role {role} may add what it needs, and change nothing written for good.")
    ]


def _may(connection: sa.Connection, table: str, verb: str) -> bool:
    return bool(connection.scalar(sa.select(sa.func.has_table_privilege(table, verb))))


def _clock(store: Store, connection: sa.Connection) -> Finding:
    before = datetime.now(UTC)
    theirs = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    ours = before + (datetime.now(UTC) - before) / 2
    skew_s = abs((theirs - ours).total_seconds())
    said = f"This machine's clock and the database's differ by {math.ceil(skew_s * 10) / 10:.1f} s."
    if skew_s > SKEW_WARN_S:
        remedy = "Let both follow one time server (NTP)."
        return Finding("fail" if skew_s > SKEW_FAIL_S else "warn", "clock", said, remedy)
    return Finding("ok", "clock", said)
