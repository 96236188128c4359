"""The tables of the ledger. Each is append-only, and each row has a link in the hash chain."""

from __future__ import annotations

import sqlalchemy as sa

META = sa.MetaData()

DECISIONS = sa.Table(
    "decisions",
    META,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("night", sa.String, nullable=False, index=True),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("document", sa.Text, nullable=False),  # canonical JSON: what is signed
    sa.Column("signature", sa.String, nullable=False),
)
COSTS = sa.Table(
    "costs",
    META,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("step", sa.String, primary_key=True),
    sa.Column("night", sa.String, nullable=False, index=True),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("cpu_seconds", sa.Float, nullable=False),
    sa.Column("gpu_seconds", sa.Float, nullable=False),
    sa.Column("amount", sa.Float, nullable=False),
    sa.Column("currency", sa.String, nullable=False),
)
TASK_EVENTS = sa.Table(
    "task_events",
    META,
    sa.Column("dag_id", sa.String, primary_key=True),
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("task_id", sa.String, primary_key=True),  # empty for the run itself
    sa.Column("try_number", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, primary_key=True),
    sa.Column("started_at", sa.String),
    sa.Column("ended_at", sa.String),
    sa.Column("message", sa.Text),
)
PROMOTIONS = sa.Table(
    "promotions",
    META,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String, nullable=False),
    sa.Column("move", sa.String, nullable=False),
    sa.Column("route", sa.Text, nullable=False),  # canonical JSON: the whole route table from now on
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("run_id", sa.String, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
)
TRIGGERS = sa.Table(  # the inbox of alerts, one row a delivery
    "triggers",
    META,
    sa.Column("id", sa.String, primary_key=True),  # sha256 of source, body and the sender's replay id
    sa.Column("received_at", sa.String, nullable=False, index=True),
    sa.Column("source", sa.String, nullable=False),  # alertmanager | json
    sa.Column("sender", sa.String, nullable=False),
    sa.Column("alerts", sa.Text, nullable=False),  # canonical JSON
    sa.Column("traceparent", sa.String, nullable=False),
)
RULINGS = sa.Table(  # what was decided about alerts, one row a cause and dispatch
    "rulings",
    META,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("at", sa.String, nullable=False, index=True),
    sa.Column("cause", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("triggers", sa.Text, nullable=False),  # JSON list: ids of the deliveries that it answers
    sa.Column("dag_id", sa.String, nullable=False),  # empty when nothing is started
    sa.Column("dag_run_id", sa.String, nullable=False),
    sa.Column("traceparent", sa.String, nullable=False),
)
WATCHES = sa.Table(  # one row a watch of live traffic
    "watches",
    META,
    sa.Column("id", sa.String, primary_key=True),  # the UTC hour, or the run id
    sa.Column("at", sa.String, nullable=False, index=True),
    sa.Column("window_start", sa.String, nullable=False),
    sa.Column("window_end", sa.String, nullable=False),
    sa.Column("verdict", sa.String, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),  # canonical JSON
    sa.Column("reasons", sa.Text, nullable=False),  # JSON list
    sa.Column("report", sa.String, nullable=False),  # URI
)
SILENCES = sa.Table(
    "silences",
    META,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("at", sa.String, nullable=False),
    sa.Column("matchers", sa.Text, nullable=False),  # JSON object
    sa.Column("until", sa.String, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
REMOVALS = sa.Table(  # files that were removed on purpose, one row a file
    "removals",
    META,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("at", sa.String, nullable=False),
    sa.Column("path", sa.String, nullable=False),  # below the runs' root, or gateway/...; a run when all went
    sa.Column("sha256", sa.String, nullable=False),  # of the removed bytes; empty where no manifest names it
    sa.Column("reason", sa.String, nullable=False),
)
AUDIT = sa.Table(
    "audit",
    META,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String, nullable=False),
    sa.Column("table_name", sa.String, nullable=False),
    sa.Column("row_key", sa.String, nullable=False),
    sa.Column("row_sha256", sa.String, nullable=False),
    sa.Column("previous", sa.String, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
)
CHAINED = (DECISIONS, COSTS, TASK_EVENTS, PROMOTIONS, TRIGGERS, RULINGS, WATCHES, SILENCES, REMOVALS)
