"""A rollout's commands as Airflow tasks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException

from nightshift.operators.approval import APPROVE, SECOND, SHADOW, approval_of, approvers
from nightshift.operators.command import CommandOperator, answer_of, options
from nightshift.settings import Settings
from pipelines.core.results import RolloutAnswer, RolloutResult

if TYPE_CHECKING:
    from airflow.sdk import Context

CANDIDATE = Asset("nightshift_candidate", uri="nightshift://candidate")
PRODUCTION = "production"  # task id


class RolloutOperator(CommandOperator):
    """Runs `rollout-ROLLOUT` with `arguments` as its options.

    While the command answers `continue`, the task goes back into the queue for later and holds no worker.
    After an abort, or with nothing to move, the tasks that follow are skipped and this one succeeds.
    """

    RESULT = RolloutResult
    ui_color = "#e7f3ea"

    def __init__(
        self, *, settings: Settings, rollout: str, arguments: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(settings=settings, **kwargs)
        self.rollout, self.arguments = rollout, dict(arguments or {})

    def words(self, context: Context) -> list[str]:
        params = context["params"]
        asked = {name: str(params[name] or "") for name in ("version", "reason") if name in params}
        values = {
            "actor": _starter(context),
            "run-id": context["dag_run"].run_id,
            "reason": asked.get("reason", ""),
        }
        if self.rollout == SHADOW:
            values |= {"reason": "a candidate for production", "version": asked.get("version", "")}
        if self.rollout == "advance":
            values |= self._advance(context)
        return [f"rollout-{self.rollout}", *options(values | self.arguments)]

    def act(self, context: Context, result: RolloutResult) -> None:
        if result.answer is RolloutAnswer.CONTINUE:
            wait = timedelta(seconds=self.settings.config.promote.interval_s)
            raise AirflowRescheduleException(datetime.now(UTC) + wait)
        if result.answer in (RolloutAnswer.ABORT, RolloutAnswer.NOTHING):
            self.log.warning("%s: %s. Later tasks are skipped.", result.answer, result.headline)
            following = [task for task in self.downstream_list if not isinstance(task, AbortOperator)]
            self.skip(context["ti"], following)

    def _advance(self, context: Context) -> dict[str, str]:
        """Who moves which adapter: people move it into the first canary, the analysis into later stages."""
        first = self.settings.config.promote.stages[1].name
        people = approvers(context) if self.arguments["to"] == first else []
        reason = f"approved by {' and '.join(people)}" if people else "the stage's analysis passed"
        return {"actor": ", ".join(people) or "judge", "reason": reason, **_adapter(context)}


class AbortOperator(CommandOperator):
    """Runs `rollout-abort`. It is skipped where no rollout began, or where the candidate is in production."""

    RESULT = RolloutResult
    ui_color = RolloutOperator.ui_color

    def execute(self, context: Context) -> Any:
        begun, arrived = answer_of(context, SHADOW), answer_of(context, PRODUCTION)
        if (arrived or {}).get("answer") == RolloutAnswer.MOVED:
            raise AirflowSkipException("The candidate is in production.")
        if (begun or {}).get("answer") != RolloutAnswer.MOVED:
            raise AirflowSkipException("No rollout began.")
        return super().execute(context)

    def words(self, context: Context) -> list[str]:
        actor, reason = self._why(context)
        who = {"actor": actor, "reason": reason, "run-id": context["dag_run"].run_id}
        return ["rollout-abort", *options({**who, **_adapter(context)})]

    def _why(self, context: Context) -> tuple[str, str]:
        """Who ended the rollout and why: its analysis, a person, nobody in time, or a failed task."""
        tasks = self.dag.topological_sort()
        answers = [answer_of(context, task.task_id) for task in tasks if isinstance(task, RolloutOperator)]
        ended = [answer for answer in answers if answer and answer["answer"] == RolloutAnswer.ABORT]
        if ended:
            return "judge", "; ".join(ended[-1]["reasons"]) or ended[-1]["headline"]
        for task_id in (APPROVE, SECOND):
            answer = approval_of(context, task_id)
            if answer and not answer["approved"]:
                person = answer["person"]
                return (
                    (person, f"not approved by {person}")
                    if person
                    else ("airflow", "nobody approved in time")
                )
        return "airflow", "a task of this run failed, so nobody watches the rollout"


def _starter(context: Context) -> str:
    """The person who started the run, or the alert that `alert_router` started it for."""
    run = context["dag_run"]
    return run.triggering_user_name or str((run.conf or {}).get("actor") or "airflow")


def _adapter(context: Context) -> dict[str, str]:
    """Version and digest of the candidate that the shadow stage began with."""
    begun = answer_of(context, SHADOW)
    assert begun, "a task after the shadow stage runs only if that answered"
    return {"version": begun["version"], "digest": begun["digest"]}
