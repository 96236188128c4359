"""What the page reads, and never writes: the ledger, the gateway's journal, Airflow's own database.

A source that is not there yet is empty: the page of a fresh home says what to do next.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.journal import ERRORS, journal_path

from nightshift import instance
from nightshift.operator import ANSWER
from nightshift.page_model import Read
from nightshift.page_rollout import Answered
from nightshift.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.orm import Session

DAGS = ("nightly_retrain", "promote", "rollback")
JUDGES = "judge_"
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
        answered=_answered(config.home, ledger["promotions"]),
        judge=_judge(session, ledger["promotions"]) if "promote" in seen else None,
        approvals=_approvals(session, seen),
        running=_running(session, seen),
        runs=_runs(session),
        allowed=frozenset(dag for dag in DAGS if may("POST", dag)),
        paused=_paused(session),
        root=root,
        mlflow=machine.mlflow_url if machine and machine.mlflow_port else remote.rstrip("/"),
    )


def read_ledger(url: str) -> dict[str, list[dict[str, Any]]]:
    """Rows by table, oldest first; of long tables the newest ones."""
    import sqlalchemy as sa

    from pipelines.adapters.ledger_tables import META  # noqa: TID251 (SQLAlchemy only)

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


def _judge(session: Session, promotions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What the judge last said, if it was about the newest move."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = (
        select(XComModel)
        .where(XComModel.dag_id == "promote", XComModel.key == ANSWER)
        .where(XComModel.task_id.startswith(JUDGES, autoescape=True))
        .order_by(XComModel.timestamp.desc())
        .limit(1)
    )
    row = session.scalar(query)
    said = XComModel.deserialize_value(row) if row else {}
    if not promotions or said.get("promotion") != promotions[-1]["number"]:
        return None
    at = row.timestamp.astimezone(UTC).isoformat()
    return {"stage": row.task_id.removeprefix(JUDGES), "at": at, "said": said}


def _approvals(session: Session, dags: list[str]) -> list[dict[str, Any]]:
    """Questions that wait for a person, oldest first."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select

    query = (
        select(HITLDetail, TaskInstance)
        .join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
        .where(HITLDetail.responded_at.is_(None), TaskInstance.dag_id.in_(dags))
        .where(TaskInstance.state.in_([TaskInstanceState.AWAITING_INPUT, TaskInstanceState.DEFERRED]))
        .order_by(HITLDetail.created_at)
    )
    return [
        {"subject": asked.subject, "at": asked.created_at.astimezone(UTC).isoformat()}
        | {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id}
        for asked, ti in session.execute(query)
    ]


def _running(session: Session, dags: list[str]) -> list[dict[str, str]]:
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    query = (
        select(DagRun.dag_id, DagRun.run_id, DagRun.state)
        .where(DagRun.state.in_([DagRunState.QUEUED, DagRunState.RUNNING]), DagRun.dag_id.in_(dags))
        .order_by(DagRun.queued_at)
    )
    return [{"dag_id": dag, "run_id": run, "state": str(state)} for dag, run, state in session.execute(query)]


def _runs(session: Session) -> dict[str, str]:
    """A night's run id -> the Airflow run that recorded it, as far as Airflow still knows it."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = select(XComModel).where(
        XComModel.dag_id == "nightly_retrain", XComModel.task_id == "record", XComModel.key == ANSWER
    )
    answers = ((row.run_id, XComModel.deserialize_value(row)) for row in session.scalars(query))
    return {answer["manifest_uri"].split("/")[-3]: run for run, answer in answers}


def _paused(session: Session) -> frozenset[str]:
    from airflow.models.dag import DagModel
    from sqlalchemy import select

    query = select(DagModel.dag_id).where(DagModel.dag_id.in_(DAGS), DagModel.is_paused)
    return frozenset(session.scalars(query))
