"""The tables of the ledger. Each is append-only, and each row has a link in the hash chain.

The folder `versions/` makes them; what stands here is what this version reads and writes.
"""

from __future__ import annotations

import sqlalchemy as sa

from pipelines.stores.sql.database import TEXT
from pipelines.stores.sql.migrations import Migrations

META = sa.MetaData()
MIGRATIONS = Migrations("ledger", head="0004")

DECISIONS = sa.Table(
    "decisions",
    META,
    sa.Column("run_id", TEXT, primary_key=True),
    sa.Column("night", TEXT, nullable=False, index=True),
    sa.Column("outcome", TEXT, nullable=False),
    sa.Column("document", TEXT, nullable=False),  # canonical JSON: what is signed
    sa.Column("signature", TEXT, nullable=False),
)
COSTS = sa.Table(
    "costs",
    META,
    sa.Column("run_id", TEXT, primary_key=True),
    sa.Column("step", TEXT, primary_key=True),
    sa.Column("night", TEXT, nullable=False, index=True),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("cpu_seconds", sa.Float, nullable=False),
    sa.Column("gpu_seconds", sa.Float, nullable=False),
    sa.Column("amount", sa.Float, nullable=False),
    sa.Column("currency", TEXT, nullable=False),
)
TASK_EVENTS = sa.Table(
    "task_events",
    META,
    sa.Column("dag_id", TEXT, primary_key=True),
    sa.Column("run_id", TEXT, primary_key=True),
    sa.Column("task_id", TEXT, primary_key=True),  # empty for the run itself
    sa.Column("try_number", sa.Integer, primary_key=True),
    sa.Column("state", TEXT, primary_key=True),
    sa.Column("started_at", TEXT),
    sa.Column("ended_at", TEXT),
    sa.Column("message", TEXT),
)
PROMOTIONS = sa.Table(
    "promotions",
    META,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", TEXT, nullable=False),
    sa.Column("move", TEXT, nullable=False),
    sa.Column("route", TEXT, nullable=False),  # canonical JSON: the whole route table from now on
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("run_id", TEXT, nullable=False),
    sa.Column("evidence", TEXT, nullable=False),
)
TRIGGERS = sa.Table(  # the inbox of alerts, one row a delivery
    "triggers",
    META,
    sa.Column("id", TEXT, primary_key=True),  # sha256 of source, body and the sender's replay id
    sa.Column("received_at", TEXT, nullable=False, index=True),
    sa.Column("source", TEXT, nullable=False),  # alertmanager | json
    sa.Column("sender", TEXT, nullable=False),
    sa.Column("alerts", TEXT, nullable=False),  # canonical JSON
    sa.Column("traceparent", TEXT, nullable=False),
)
RULINGS = sa.Table(  # what was decided about alerts, one row a cause and dispatch
    "rulings",
    META,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("at", TEXT, nullable=False, index=True),
    sa.Column("cause", TEXT, nullable=False),
    sa.Column("action", TEXT, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("triggers", TEXT, nullable=False),  # JSON list: ids of the deliveries that it answers
    sa.Column("dag_id", TEXT, nullable=False),  # empty when nothing is started
    sa.Column("dag_run_id", TEXT, nullable=False),
    sa.Column("traceparent", TEXT, nullable=False),
)
WATCHES = sa.Table(  # one row a watch of live traffic
    "watches",
    META,
    sa.Column("id", TEXT, primary_key=True),  # the UTC hour, or the run id
    sa.Column("at", TEXT, nullable=False, index=True),
    sa.Column("window_start", TEXT, nullable=False),
    sa.Column("window_end", TEXT, nullable=False),
    sa.Column("verdict", TEXT, nullable=False),
    sa.Column("metrics", TEXT, nullable=False),  # canonical JSON
    sa.Column("reasons", TEXT, nullable=False),  # JSON list
    sa.Column("report", TEXT, nullable=False),  # URI
)
SILENCES = sa.Table(
    "silences",
    META,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("at", TEXT, nullable=False),
    sa.Column("matchers", TEXT, nullable=False),  # JSON object
    sa.Column("until", TEXT, nullable=False),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
)
REMOVALS = sa.Table(  # files that were removed on purpose, one row a file
    "removals",
    META,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("at", TEXT, nullable=False),
    sa.Column("path", TEXT, nullable=False),  # below the runs' root, or gateway/...; a run when all went
    sa.Column("sha256", TEXT, nullable=False),  # of the removed bytes; empty where no manifest names it
    sa.Column("reason", TEXT, nullable=False),
)
ANCHORS = sa.Table(  # the version that candidates are compared with, one row a choice
    "anchors",
    META,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("at", TEXT, nullable=False),
    sa.Column("version", TEXT, nullable=False),  # empty: no version from then on
    sa.Column("digest", TEXT, nullable=False),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
)
REVIEWS = sa.Table(  # what people said of proposed suite items, one row a word; no text of an item
    "reviews",
    META,
    sa.Column("item", TEXT, primary_key=True),  # digest of what it asks and of its answer, as proposed
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # from 1, for each item
    sa.Column("at", TEXT, nullable=False),
    sa.Column("verdict", TEXT, nullable=False),  # accepted | edited | dropped | reopened
    sa.Column("answer", TEXT, nullable=False),  # sha256 of the person's own answer; empty without one
    sa.Column("actor", TEXT, nullable=False),
)
RENEWALS = sa.Table(  # when the suite's file was renewed, one row a time
    "renewals",
    META,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("at", TEXT, nullable=False),
    sa.Column("suite", TEXT, nullable=False),  # its digest since then
    sa.Column("previous", TEXT, nullable=False),
    sa.Column("items", sa.Integer, nullable=False),
    sa.Column("joined", sa.Integer, nullable=False),
    sa.Column("retired", sa.Integer, nullable=False),
    sa.Column("actor", TEXT, nullable=False),
)
AUDIT = sa.Table(
    "audit",
    META,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", TEXT, nullable=False),
    sa.Column("table_name", TEXT, nullable=False),
    sa.Column("row_key", TEXT, nullable=False),
    sa.Column("row_sha256", TEXT, nullable=False),
    sa.Column("previous", TEXT, nullable=False),
    sa.Column("hash", TEXT, nullable=False),
)
LEASES = sa.Table(  # who may do a piece of work now; PostgreSQL only, see stores/leases.py
    "leases",
    META,
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),  # one more for each holder
    sa.Column("holder", TEXT, nullable=False),  # for people: machine and process
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),  # by the database's clock
)
CHAINED = (
    DECISIONS, COSTS, TASK_EVENTS, PROMOTIONS, TRIGGERS, RULINGS, WATCHES, SILENCES, REMOVALS, ANCHORS,
    REVIEWS, RENEWALS,
)  # fmt: skip
APPEND_ONLY = (*CHAINED, AUDIT)
# What the role of the steps may do on PostgreSQL, where another role owns the tables.
RIGHTS = {
    **{table.name: ("SELECT", "INSERT") for table in APPEND_ONLY},
    LEASES.name: ("SELECT", "INSERT", "UPDATE"),
    MIGRATIONS.version_table: ("SELECT",),
}
