"""What the page reads from Airflow's own database. It never writes there.

`dags` are those that the person may see.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nightshift.operators.command import ANSWER

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

DAGS = ("nightly_retrain", "promote", "rollback")
FAILING = (*DAGS, "alert_router")
FAILED_DAYS, MOST_FAILED = 7, 5
ANALYSES = "judge_"  # how the tasks that analyse a stage begin


def analysis(session: Session, promotions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The last analysis of a stage, if it is about the newest move."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = (
        select(XComModel)
        .where(XComModel.dag_id == "promote", XComModel.key == ANSWER)
        .where(XComModel.task_id.startswith(ANALYSES, autoescape=True))
        .order_by(XComModel.timestamp.desc())
        .limit(1)
    )
    row = session.scalar(query)
    if row is None or not promotions:
        return None
    result = XComModel.deserialize_value(row)
    if result.get("promotion") != promotions[-1]["number"]:
        return None
    at = row.timestamp.astimezone(UTC).isoformat()
    return {"stage": row.task_id.removeprefix(ANALYSES), "at": at, "result": result}


def approvals(session: Session, dags: list[str]) -> list[dict[str, Any]]:
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


def running(session: Session, dags: list[str]) -> list[dict[str, str]]:
    """Runs that are queued or running, oldest first."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    query = (
        select(DagRun.dag_id, DagRun.run_id, DagRun.state)
        .where(DagRun.state.in_([DagRunState.QUEUED, DagRunState.RUNNING]), DagRun.dag_id.in_(dags))
        .order_by(DagRun.queued_at)
    )
    return [{"dag_id": dag, "run_id": run, "state": str(state)} for dag, run, state in session.execute(query)]


def failed(session: Session, dags: list[str], now: datetime) -> list[dict[str, str]]:
    """Runs that failed lately, newest first, with their notes."""
    from airflow.models.dagrun import DagRun, DagRunNote
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    query = (
        select(DagRun.dag_id, DagRun.run_id, DagRun.end_date, DagRunNote.content)
        .outerjoin(DagRunNote, DagRunNote.dag_run_id == DagRun.id)
        .where(DagRun.state == DagRunState.FAILED, DagRun.dag_id.in_(dags))
        .where(DagRun.end_date >= now - timedelta(days=FAILED_DAYS))
        .order_by(DagRun.end_date.desc())
        .limit(MOST_FAILED)
    )
    return [
        {"dag_id": dag, "run_id": run, "at": ended.astimezone(UTC).isoformat(), "note": note or ""}
        for dag, run, ended, note in session.execute(query)
        if ended
    ]


def states(session: Session, dags: list[str], rulings: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """(DAG, run) -> state, of the runs that rulings started. Runs that Airflow deleted are missing."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    started = {row["dag_run_id"] for row in rulings} - {None, ""}
    query = select(DagRun.dag_id, DagRun.run_id, DagRun.state).where(
        DagRun.dag_id.in_(dags), DagRun.run_id.in_(started)
    )
    return {(dag, run): str(state) for dag, run, state in session.execute(query)}


def runs(session: Session) -> dict[str, str]:
    """A night's run id -> the Airflow run that recorded it. Runs that Airflow deleted are missing."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = select(XComModel).where(
        XComModel.dag_id == "nightly_retrain", XComModel.task_id == "record", XComModel.key == ANSWER
    )
    answers = ((row.run_id, XComModel.deserialize_value(row)) for row in session.scalars(query))
    return {answer["manifest_uri"].split("/")[-3]: run for run, answer in answers}


def paused(session: Session) -> frozenset[str]:
    """The DAGs that are paused."""
    from airflow.models.dag import DagModel
    from sqlalchemy import select

    query = select(DagModel.dag_id).where(DagModel.dag_id.in_(DAGS), DagModel.is_paused)
    return frozenset(session.scalars(query))
