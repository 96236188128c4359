"""Task history into the ledger, and each night's answer as notes that the grid shows.

Task listeners run in the task's own process; run listeners run in the scheduler, inside its transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from nightshift.operators.command import ANSWER, FAULT, StepOperator
from nightshift.settings import Settings
from pipelines.core.contract import CLOSING, Verdict

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun, DagRunNote
    from airflow.models.taskinstance import TaskInstance, TaskInstanceNote
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from sqlalchemy.orm import Session

    from pipelines.stores import open_ledger
    from pipelines.stores.ledger import Ledger

OPERATORS = (
    "StepOperator",
    "RecordOperator",
    "WatchOperator",
    "RolloutOperator",
    "AbortOperator",
    "Approval",
)
NOTE_LIMIT = 1000  # characters that Airflow's database holds


@hookimpl
def on_task_instance_running(task_instance: RuntimeTaskInstance) -> None:
    _record(task_instance, "running", "")


@hookimpl
def on_task_instance_success(task_instance: RuntimeTaskInstance) -> None:
    _record(task_instance, "success", "")


@hookimpl
def on_task_instance_failed(task_instance: RuntimeTaskInstance, error: str | BaseException | None) -> None:
    _record(task_instance, "failed", str(error or ""))


@hookimpl
def on_dag_run_success(dag_run: DagRun) -> None:
    _close(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun) -> None:
    _close(dag_run)


def _ledger() -> Ledger:

    config = Settings.from_environment().config
    return open_ledger(config)


def _record(ti: RuntimeTaskInstance | TaskInstance, state: str, message: str) -> None:
    if isinstance(getattr(ti, "task", None), StepOperator):
        _ledger().add_task_event(
            ti.dag_id, ti.run_id, ti.task_id, ti.try_number, state, ti.start_date, ti.end_date, message
        )


def _close(dag_run: DagRun) -> None:
    """Note on the run and its tasks what was answered; write what never started into the ledger."""
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    tasks = dag_run.get_task_instances(session=session)
    ours = [ti for ti in tasks if ti.operator in OPERATORS]
    if not ours:
        return
    said = _said(dag_run, ours, session)
    for ti in ours:
        if _is_free(ti.task_instance_note):
            ti.task_instance_note = None
            session.flush()
            if ti.task_id in said:
                ti.note = said[ti.task_id]
    if _is_free(dag_run.dag_run_note):
        dag_run.note = _note(said)
    _record_run(dag_run, ours)


def _note(said: dict[str, str]) -> str:
    """The night's decision first, then who said what."""
    decision = [said[CLOSING[-1]]] if CLOSING[-1] in said else []
    others = [f"{task}: {words}" for task, words in said.items() if task != CLOSING[-1]]
    return "\n".join([*decision, *others])[:NOTE_LIMIT]


def _is_free(note: TaskInstanceNote | DagRunNote | None) -> bool:
    """A note that a person wrote stays as it is."""
    return note is None or note.user_id is None


def _record_run(dag_run: DagRun, tasks: list[TaskInstance]) -> None:
    ledger, run = _ledger(), (dag_run.dag_id, dag_run.run_id)
    for ti in tasks:
        if ti.start_date is None:
            ledger.add_task_event(*run, ti.task_id, ti.try_number, str(ti.state))
    times = (dag_run.start_date, dag_run.end_date)
    ledger.add_task_event(*run, "", 1, str(dag_run.state), *times, dag_run.note or "")


def _said(dag_run: DagRun, tasks: list[TaskInstance], session: Session) -> dict[str, str]:
    """task id -> what a person should see: an answer other than proceed, a fault, the night's decision."""
    from airflow.models.xcom import XComModel

    states = {ti.task_id: ti.state for ti in tasks}
    query = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id)
    said = {}
    for row in session.scalars(query):
        if (row.key, states.get(row.task_id)) == (FAULT, "failed"):
            said[row.task_id] = f"fault: {XComModel.deserialize_value(row)}"[:NOTE_LIMIT]
        elif (row.key, states.get(row.task_id)) == (ANSWER, "success"):
            answer = XComModel.deserialize_value(row)
            if "verdict" not in answer:
                said[row.task_id] = _of_rollout(answer)[:NOTE_LIMIT]
            elif answer["verdict"] != Verdict.PROCEED:
                reasons = "; ".join(answer["reasons"]) or answer["headline"]
                said[row.task_id] = f"{answer['verdict']}: {reasons}"[:NOTE_LIMIT]
            elif row.task_id == CLOSING[-1]:
                said[row.task_id] = answer["headline"][:NOTE_LIMIT]
    return said


def _of_rollout(answer: dict[str, Any]) -> str:
    """What a rollout's command answered, or a person."""
    if "person" in answer:
        by = f"by {answer['person']}" if answer["person"] else "in time"
        return f"{'approved' if answer['approved'] else 'not approved'} {by}"
    return "; ".join([answer["headline"], *answer["reasons"]])
