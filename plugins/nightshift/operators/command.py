"""A command of the work plane as an Airflow task: run it, keep its result, fail with its own sentence."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from pydantic import BaseModel

from nightshift.launchers import FAULT_PREFIX, Command, Ended, Launcher
from nightshift.launchers.process import ProcessLauncher
from nightshift.settings import Settings
from nightshift.traces import traceparent

if TYPE_CHECKING:
    from airflow.sdk import Context

ANSWER = "answer"  # XCom: the command's result, and when it ran
FAULT = "fault"  # XCom: the sentence that says why it failed
USER_ERROR = 2  # exit status for an error that a person has to mend, so that a retry is no use
FOLLOWED: set[str] = set()  # class names of the operators whose tasks the ledger keeps


class Followed:
    """Base of every operator whose tasks the ledger keeps.

    Its subclasses enter their names into `FOLLOWED`: of a task's operator, the scheduler knows the name only.
    """

    remark = ""  # what the ledger notes about a task that succeeded

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        FOLLOWED.add(cls.__name__)


class CommandOperator(Followed, BaseOperator, SkipMixin):
    """Runs one command of the work plane and acts on its result.

    A subclass gives the command's words, the model of its result, and what follows from it. The task pushes
    two XComs: `answer`, the result, and `fault`, the sentence with which the command failed. A command that
    ends with status 2 is not retried.
    """

    RESULT: ClassVar[type[BaseModel]]

    def __init__(self, *, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings
        self._launcher: Launcher | None = None

    def words(self, context: Context) -> list[str]:
        """The command's name and options, as a person would type them."""
        raise NotImplementedError

    def act(self, context: Context, result: Any) -> Any:
        """What follows from the result, an instance of `RESULT`. By default nothing."""

    def execute(self, context: Context) -> Any:
        """Run the command. Raises AirflowException with its fault, AirflowFailException where it is final."""
        return self._run(context, None)

    def resume(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after a trigger of the launcher has fired."""
        return self._run(context, event)

    def _run(self, context: Context, event: dict[str, Any] | None) -> Any:
        run = context["dag_run"]
        command = Command(self.words(context), run.dag_id, run.run_id, traceparent(context))
        self._launcher = launcher_of(self.settings)
        ended = self._launcher.run(command, self.log, context, event)
        return self.complete(context, command, ended)

    def complete(self, context: Context, command: Command, ended: Ended) -> Any:
        """Push the result of a command that has ended, and act on it; or push its fault, and fail."""
        self.remark = "; ".join(ended.interruptions)
        if ended.status == 0 and ended.result is not None:
            result = self.RESULT.model_validate_json(ended.result)
            how: dict[str, Any] = {"started": ended.started, "ended": ended.ended}
            how |= {"interruptions": [*ended.interruptions]} if ended.interruptions else {}
            context["ti"].xcom_push(ANSWER, {**result.model_dump(mode="json"), **how})
            return self.act(context, result)
        fault = fault_of(command, ended)
        context["ti"].xcom_push(FAULT, fault)
        raise AirflowFailException(fault) if ended.status == USER_ERROR else AirflowException(fault)

    def on_kill(self) -> None:
        if self._launcher:
            self._launcher.stop()


def launcher_of(settings: Settings) -> Launcher:
    """How this installation runs commands."""
    if settings.config.launcher == "process":
        return ProcessLauncher(settings)
    from nightshift.launchers.pods.launcher import PodLauncher  # the provider takes a second to import

    return PodLauncher(settings)


def options(values: Mapping[str, Any]) -> list[str]:
    """`--name=value` for each."""
    return [f"--{name}={value}" for name, value in values.items()]


def answer_of(context: Context, task_id: str) -> dict[str, Any] | None:
    """What another task of this run pushed as its answer; None if it has not answered."""
    return context["ti"].xcom_pull(task_ids=task_id, key=ANSWER)


def fault_of(command: Command, ended: Ended) -> str:
    """Why a command failed: its own sentence where it printed one, otherwise how it ended."""
    if ended.last_line.startswith(FAULT_PREFIX):
        return ended.last_line.removeprefix(FAULT_PREFIX)
    return f"{command.words[0]} ended {_how(ended.status)}. Its last line was: {ended.last_line or '(none)'}"


def _how(status: int) -> str:
    if status == 0:
        return "without a result"
    if status > 0:
        return f"with exit status {status}"
    name = signal.Signals(-status).name
    return f"with {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
