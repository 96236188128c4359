"""The tables of the gateways. Their rows change all the time, so they are outside the ledger's chain."""

from __future__ import annotations

import sqlalchemy as sa

from pipelines.stores.sql.database import TEXT
from pipelines.stores.sql.migrations import Migrations

META = sa.MetaData()
MIGRATIONS = Migrations("gateways", head="0002")
GATEWAYS = sa.Table(
    "gateways",
    META,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("url", TEXT, nullable=False),  # where the others reach it
    sa.Column("key_mark", TEXT, nullable=False),  # tells whether two gateways have the same routing key
    sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),  # by the database's clock
    sa.Column("ready_for", sa.BigInteger, nullable=False),  # the promotion whose adapters are loaded
    sa.Column("live", sa.BigInteger, nullable=False),  # the promotion that users are answered by; -1: none
    sa.Column("problem", TEXT, nullable=False),
    sa.Column("version", TEXT, nullable=False, server_default=""),  # see core.version; "" names none
    sa.Column("spool", TEXT, nullable=False, server_default=""),  # what the journal knows its spool by
    sa.Column("spool_rows", sa.BigInteger, nullable=False, server_default="0"),  # that had not arrived then
    sa.Column("stopped", sa.Boolean, nullable=False, server_default=sa.false()),  # by itself, with rows left
)
IN_EFFECT = sa.Table(  # one row: the newest promotion that may answer users
    "traffic_in_effect",
    META,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
)
RIGHTS = {
    GATEWAYS.name: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    IN_EFFECT.name: ("SELECT", "INSERT", "UPDATE"),
    MIGRATIONS.version_table: ("SELECT",),
}
