"""Writes the history of our tasks and runs into the ledger, and their answers as notes into Airflow's grid.

Airflow calls the task listeners in the task's own process, and the run listeners in the scheduler, inside its
transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from nightshift.operators.command import ANSWER, FAULT, FOLLOWED, Followed
from nightshift.settings import Settings
from pipelines.core.contract import CLOSING, Verdict
from pipelines.stores import open_ledger

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun, DagRunNote
    from airflow.models.taskinstance import TaskInstance, TaskInstanceNote
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from sqlalchemy.orm import Session

    from pipelines.stores.ledger import Ledger

NOTE_LIMIT = 1000  # characters that Airflow's database holds


@hookimpl
def on_starting(component: object) -> None:
    """A scheduler imports what its tasks need once: each is a copy of its process."""
    if Settings.from_environment().config.launcher == "pod":
        from nightshift.launchers.pods import launcher  # noqa: F401


@hookimpl
def on_task_instance_running(task_instance: RuntimeTaskInstance) -> None:
    _record(task_instance, "running", "")


@hookimpl
def on_task_instance_success(task_instance: RuntimeTaskInstance) -> None:
    _record(task_instance, "success", getattr(getattr(task_instance, "task", None), "remark", ""))


@hookimpl
def on_task_instance_failed(task_instance: RuntimeTaskInstance, error: str | BaseException | None) -> None:
    _record(task_instance, "failed", str(error or ""))


@hookimpl
def on_dag_run_success(dag_run: DagRun) -> None:
    _close(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun) -> None:
    _close(dag_run)


def followed() -> set[str]:
    """Class names of all our operators. Imported here: a task's process does not need all of them."""
    from nightshift.operators import alerts, approval, reaper, rollout, step, watch  # noqa: F401

    return FOLLOWED


def _ledger() -> Ledger:
    return open_ledger(Settings.from_environment().config)


def _record(ti: RuntimeTaskInstance | TaskInstance, state: str, message: str) -> None:
    if isinstance(getattr(ti, "task", None), Followed):
        _ledger().add_task_event(
            ti.dag_id, ti.run_id, ti.task_id, ti.try_number, state, ti.start_date, ti.end_date, message
        )


def _close(dag_run: DagRun) -> None:
    """Write the answers as notes on the run and its tasks, and the run's end into the ledger."""
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    assert session, "Airflow calls a run's listeners inside its transaction"
    names = followed()
    ours = [ti for ti in dag_run.get_task_instances(session=session) if ti.operator in names]
    if not ours:
        return
    answers = _answers(dag_run, ours, session)
    for ti in ours:
        if _is_ours(ti.task_instance_note):
            ti.task_instance_note = None
            session.flush()
            if ti.task_id in answers:
                ti.note = answers[ti.task_id]
    if _is_ours(dag_run.dag_run_note):
        dag_run.note = _note(answers)
    _record_run(dag_run, ours)


def _note(answers: dict[str, str]) -> str:
    """The night's decision first, then the answers of the other tasks."""
    decision = [answers[CLOSING[-1]]] if CLOSING[-1] in answers else []
    others = [f"{task}: {text}" for task, text in answers.items() if task != CLOSING[-1]]
    return "\n".join([*decision, *others])[:NOTE_LIMIT]


def _is_ours(note: TaskInstanceNote | DagRunNote | None) -> bool:
    """Whether the note may be replaced: one that a person wrote stays."""
    return note is None or note.user_id is None


def _record_run(dag_run: DagRun, tasks: list[TaskInstance]) -> None:
    """The end of the run, as a task event without a task, and its tasks that never started."""
    ledger, run = _ledger(), (dag_run.dag_id, dag_run.run_id)
    for ti in tasks:
        if ti.start_date is None:
            ledger.add_task_event(*run, ti.task_id, ti.try_number, str(ti.state))
    times = (dag_run.start_date, dag_run.end_date)
    ledger.add_task_event(*run, "", 1, str(dag_run.state), *times, dag_run.note or "")


def _answers(dag_run: DagRun, tasks: list[TaskInstance], session: Session) -> dict[str, str]:
    """task id -> text for a person. Steps that proceed have none, except the one that closes the night."""
    from airflow.models.xcom import XComModel

    states = {ti.task_id: ti.state for ti in tasks}
    query: Any = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id)
    texts: dict[str, str] = {}
    for row in session.scalars(query):
        text = ""
        if (row.key, states.get(row.task_id)) == (FAULT, "failed"):
            text = f"fault: {XComModel.deserialize_value(row)}"
        elif (row.key, states.get(row.task_id)) == (ANSWER, "success"):
            text = _text_of(row.task_id, XComModel.deserialize_value(row))
        if text:
            texts[row.task_id] = text[:NOTE_LIMIT]
    return texts


def _text_of(task_id: str, answer: dict[str, Any]) -> str:
    """An answer as text, and what interrupted the command; empty for an undisturbed step that proceeds."""
    parts = (_said(task_id, answer), "; ".join(answer.get("interruptions", ())))
    return " | ".join(part for part in parts if part)


def _said(task_id: str, answer: dict[str, Any]) -> str:
    """The answer of a person, of a step, or of another command."""
    if "person" in answer:
        by = f"by {answer['person']}" if answer["person"] else "in time"
        return f"{'approved' if answer['approved'] else 'not approved'} {by}"
    reasons = answer.get("reasons", ())
    if "verdict" not in answer:
        return "; ".join([answer["headline"], *reasons])
    if answer["verdict"] != Verdict.PROCEED:
        return f"{answer['verdict']}: {'; '.join(reasons) or answer['headline']}"
    return answer["headline"] if task_id == CLOSING[-1] else ""
