"""Anchors: the version that every candidate is compared with, one row a choice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision, down_revision = "0003", "0002"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COLUMNS = ("id", "at", "version", "digest", "actor", "reason")


def upgrade() -> None:
    columns = (sa.Column(name, TEXT, primary_key=name == "id", nullable=False) for name in COLUMNS)
    op.create_table("anchors", *columns)
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER anchors_no_{verb.lower()} BEFORE {verb} ON anchors "
                f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )
    else:
        op.execute(
            "CREATE TRIGGER anchors_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON anchors "
            "FOR EACH STATEMENT EXECUTE FUNCTION nightshift_append_only()"
        )
