"""Which version a gateway runs, and what it has left in its spool."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision, down_revision = "0002", "0001"

TEXT = postgresql.TEXT(collation="C")


def upgrade() -> None:
    for column in (
        sa.Column("version", TEXT, nullable=False, server_default=""),
        sa.Column("spool", TEXT, nullable=False, server_default=""),
        sa.Column("spool_rows", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("stopped", sa.Boolean, nullable=False, server_default=sa.false()),
    ):
        op.add_column("gateways", column)
