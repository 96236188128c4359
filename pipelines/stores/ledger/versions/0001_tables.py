"""The tables as they were before there were migrations: SQLite's may be there already, or some of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision, down_revision = "0001", None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
KEYS = {
    "decisions": ["run_id"],
    "costs": ["run_id", "step"],
    "task_events": ["dag_id", "run_id", "task_id", "try_number", "state"],
    "promotions": ["number"],
    "triggers": ["id"],
    "rulings": ["id"],
    "watches": ["id"],
    "silences": ["id"],
    "removals": ["id"],
    "audit": ["seq"],
}
COLUMNS = {
    "decisions": "run_id night outcome document signature",
    "costs": "run_id step night seconds:float cpu_seconds:float gpu_seconds:float amount:float currency",
    "task_events": "dag_id run_id task_id try_number:int state started_at? ended_at? message?",
    "promotions": "number:int at move route reason actor run_id evidence",
    "triggers": "id received_at source sender alerts traceparent",
    "rulings": "id at cause action reason triggers dag_id dag_run_id traceparent",
    "watches": "id at window_start window_end verdict metrics reasons report",
    "silences": "id at matchers until actor reason",
    "removals": "id at path sha256 reason",
    "audit": "seq:int at table_name row_key row_sha256 previous hash",
}
INDEXES = {
    "decisions": "night",
    "costs": "night",
    "triggers": "received_at",
    "rulings": "at",
    "watches": "at",
}
TYPES: dict[str, Any] = {"": TEXT, "int": sa.Integer(), "float": sa.Float()}
REFUSE = """
    CREATE OR REPLACE FUNCTION nightshift_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$
"""


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        op.create_table(table, *(_column(table, words) for words in columns.split()), if_not_exists=True)
        if column := INDEXES.get(table):
            op.create_index(f"ix_{table}_{column}", table, [column], if_not_exists=True)
    if op.get_bind().dialect.name == "sqlite":
        _forbid_changes_in_sqlite()
    else:
        _forbid_changes_in_postgresql()


def _column(table: str, words: str) -> sa.Column[Any]:
    name, _, kind = words.rstrip("?").partition(":")
    is_key = name in KEYS[table]
    return sa.Column(
        name,
        TYPES[kind],
        primary_key=is_key,
        autoincrement=False,
        nullable=words.endswith("?") and not is_key,
    )


def _forbid_changes_in_sqlite() -> None:
    for table in COLUMNS:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )


def _forbid_changes_in_postgresql() -> None:
    op.execute(REFUSE)
    for table in COLUMNS:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION nightshift_append_only()"
        )
