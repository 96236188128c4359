"""Answers, feedback, deliveries, and what the spools of several gateways need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision, down_revision = "0001", None

TEXT = postgresql.TEXT(collation="C")


def upgrade() -> None:
    op.create_table(
        "interactions",
        sa.Column("rowid", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("request_id", TEXT, primary_key=True),
        sa.Column("parent", TEXT),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        *_texts("tenant", "subject_id", "messages", "completion", "adapter", "digest", "route", "locale"),
        *_texts("channel"),
        *_counts("tokens_in", "tokens_out"),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("first_token_ms", sa.Double),
        sa.Column("opt_out", sa.Boolean, nullable=False),
        *_texts("fault"),
        *(sa.Column(name, sa.Boolean, nullable=False) for name in ("refused", "cached", "fallback")),
    )
    op.create_table(
        "feedback",
        sa.Column("seq", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *_texts("request_id"),
        sa.Column("rating", sa.BigInteger),
        sa.Column("correction", TEXT),
    )
    op.create_table(
        "delivered",
        sa.Column("night", sa.Date, primary_key=True),
        sa.Column("request_id", TEXT, primary_key=True),
        *_counts("feedback_seq"),
    )
    op.create_table(
        "shadow_copies",
        sa.Column("source", TEXT, primary_key=True),
        sa.Column("promotion", sa.BigInteger, primary_key=True, autoincrement=False),
        *_counts("offered", "answered", "failed", "dropped"),
    )
    op.create_table("spools", sa.Column("id", TEXT, primary_key=True), *_counts("shipped"))
    op.create_table(
        "feedback_waiting",
        sa.Column("seq", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *_texts("request_id", "tenant"),
        sa.Column("rating", sa.BigInteger),
        sa.Column("correction", TEXT),
    )
    for table, column in (
        ("interactions", "ts"),
        ("feedback", "request_id"),
        ("delivered", "request_id"),
        ("feedback_waiting", "request_id"),
    ):
        op.create_index(f"ix_{table}_{column}", table, [column])


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, TEXT, nullable=False) for name in names]


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]
