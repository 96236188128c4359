"""Reviews of proposed suite items, and renewals of the suite."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision, down_revision = "0004", "0003"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
NUMBERS = ("number", "items", "joined", "retired")
TABLES = {  # the columns of each table, those of its primary key first
    "reviews": (("item", "number"), ("at", "verdict", "answer", "actor")),
    "renewals": (("id",), ("at", "suite", "previous", "items", "joined", "retired", "actor")),
}


def upgrade() -> None:
    for table, (keys, others) in TABLES.items():
        op.create_table(table, *(_column(name, name in keys) for name in (*keys, *others)))
        _append_only(table)


def _column(name: str, is_key: bool) -> sa.Column[object]:
    kind = sa.Integer() if name in NUMBERS else TEXT
    return sa.Column(name, kind, primary_key=is_key, autoincrement=False, nullable=False)


def _append_only(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )
        return
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION nightshift_append_only()"
    )
