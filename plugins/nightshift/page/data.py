"""What the page reads, and never writes: the ledger, the gateway's journal, Airflow's own database.

A source that is not there yet is empty: the page of a fresh home says what to do next.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.local import instance
from nightshift.page import airflow as page_airflow
from nightshift.page.airflow import DAGS, FAILING
from nightshift.page.model import Read
from nightshift.page.rollout import Answered
from nightshift.settings import Settings
from pipelines.core.config import Config
from pipelines.stores.journal.tables import ERRORS, journal_path

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.orm import Session

ORDERS = {  # table of the ledger -> what it is sorted by
    "decisions": "night",
    "promotions": "number",
    "triggers": "received_at",
    "rulings": "at",
    "watches": "at",
    "silences": "at",
}
MOST_ANSWERS = 10_000  # of the newest ones, so that a long stage is no slow page
MOST_ROWS = {"triggers": 2_000, "rulings": 500, "watches": 720, "silences": 200}
# Without answers that stood in for another adapter's, or that a client did not wait for: as the judge counts.
ANSWERED = """
    SELECT i.adapter, i.digest, i.fault, i.refused, i.cached, i.latency_ms, f.rating
    FROM (SELECT request_id, adapter, digest, fault, refused, cached, latency_ms
          FROM interactions WHERE ts >= ? AND fault <> 'aborted' AND NOT fallback
          AND ((adapter = ? AND digest = ?) OR (adapter = ? AND route = 'production'))
          ORDER BY ts DESC LIMIT ?) i
    LEFT JOIN feedback f ON f.seq = (SELECT min(seq) FROM feedback WHERE request_id = i.request_id)
"""


def read_all(
    settings: Settings, session: Session, may: Callable[[str, str], bool], root: str, now: datetime
) -> Read:
    """`may(method, DAG)`: whether this person may do that; what they may not see is left out."""
    config = settings.config
    ledger = read_ledger(config.path(config.ledger_url))
    seen = [dag for dag in DAGS if may("GET", dag)]
    machine = instance.running(settings)
    remote = config.tracking_uri if config.tracking_uri.startswith("http") else ""
    return Read(
        now=now,
        name=config.register_.name,
        stages=[(stage.name, stage.weight) for stage in config.promote.stages],
        **ledger,
        alert_expires_s=config.alerts.expires_s,
        sample_night=_sample_night(config, ledger["decisions"]),
        answered=_answered(config.home, ledger["promotions"]),
        judge=page_airflow.judge(session, ledger["promotions"]) if "promote" in seen else None,
        approvals=page_airflow.approvals(session, seen),
        running=page_airflow.running(session, seen),
        failed=page_airflow.failed(session, [dag for dag in FAILING if may("GET", dag)], now),
        states=page_airflow.states(session, seen, ledger["rulings"]),
        watch_schedule=config.watch.schedule,
        runs=page_airflow.runs(session),
        allowed=frozenset(dag for dag in DAGS if may("POST", dag)),
        paused=page_airflow.paused(session),
        root=root,
        mlflow=machine.mlflow_url if machine and machine.mlflow_port else remote.rstrip("/"),
    )


def _sample_night(config: Config, decisions: Sequence[Mapping[str, Any]]) -> str:
    night = config.sample.next_night(date.fromisoformat(row["night"]) for row in decisions)
    return str(night) if config.ingest.kind == "sample" and config.sample.has(night) else ""


def read_ledger(url: str) -> dict[str, list[dict[str, Any]]]:
    """Rows by table, oldest first; of long tables the newest ones."""
    import sqlalchemy as sa

    from pipelines.stores.ledger.tables import META

    orders = {META.tables[name]: META.tables[name].c[column] for name, column in ORDERS.items()}
    path = sa.make_url(url).database or ""
    if not Path(path).exists():
        return {table.name: [] for table in orders}
    engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", poolclass=sa.NullPool)
    with engine.connect() as connection:
        there = set(sa.inspect(connection).get_table_names())
        return {
            table.name: _rows(connection, table, order) if table.name in there else []
            for table, order in orders.items()
        }


def _rows(connection: sa.Connection, table: sa.Table, order: sa.Column[Any]) -> list[dict[str, Any]]:
    query = table.select().order_by(order.desc()).limit(MOST_ROWS.get(table.name))
    return [dict(row) for row in connection.execute(query).mappings()][::-1]


def _answered(home: str, promotions: list[dict[str, Any]]) -> list[Answered]:
    """The candidate's answers and production's since the candidate came into its kind of stage."""
    moves = [json.loads(row["route"]) for row in promotions]
    candidate = moves and (moves[-1]["canary"] or moves[-1]["shadow"])
    path = journal_path(home)
    if not candidate or not path.exists():
        return []
    kind = "canary" if moves[-1]["canary"] else "shadow"
    first = len(moves) - 1
    while first and moves[first - 1][kind] == candidate:
        first -= 1
    production = moves[-1]["production"]["version"] if moves[-1]["production"] else "base"
    ours = (candidate["version"], candidate["digest"])
    values = (promotions[first]["at"], *ours, production, MOST_ANSWERS)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute(ANSWERED, values).fetchall()
    return [
        Answered(
            candidate=(version, digest) == ours,
            error=fault in ERRORS,
            refused=bool(refused),
            latency_ms=None if cached or fault in ERRORS else latency,
            rating=rating,
        )
        for version, digest, fault, refused, cached, latency, rating in rows
    ]
