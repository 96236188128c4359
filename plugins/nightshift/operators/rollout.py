"""A rollout's commands as Airflow tasks, and the approvals between them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Asset
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
)

from nightshift.operators.command import ANSWER, FAULT, USER_ERROR, StepOperator, sentence
from nightshift.settings import Settings
from nightshift.traces import traceparent
from pipelines.core.results import RolloutAnswer, RolloutResult

if TYPE_CHECKING:
    from airflow.sdk import Context

CANDIDATE = Asset("nightshift_candidate", uri="nightshift://candidate")
SHADOW, PRODUCTION, APPROVE, SECOND = "shadow", "production", "approve", "approve_second"
NOBODY = "nobody approved it in time"


class RolloutOperator(StepOperator):
    """Runs `python -m pipelines rollout-COMMAND`.

    While the judge says `continue` the task is put back in the queue for later: it holds no worker. After an
    abort, or with nothing to move, what follows is skipped; that is an answer, not a failure.
    """

    ui_color = "#e7f3ea"

    def __init__(
        self, *, settings: Settings, rollout: str, arguments: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(settings=settings, step=f"rollout-{rollout}", **kwargs)
        self.rollout, self.arguments = rollout, dict(arguments or {})

    def execute(self, context: Context) -> None:
        result = self.ask(context, self.words(context))
        if result.answer is RolloutAnswer.CONTINUE:
            wait = timedelta(seconds=self.settings.config.promote.interval_s)
            raise AirflowRescheduleException(datetime.now(UTC) + wait)
        if result.answer in (RolloutAnswer.ABORT, RolloutAnswer.NOTHING):
            self.log.warning("%s: %s. What follows is skipped.", result.answer, result.headline)
            following = [task for task in self.downstream_list if not isinstance(task, AbortOperator)]
            self.skip(context["ti"], following)

    def words(self, context: Context) -> dict[str, str]:
        """The command's options: whose move it is, why, and of which adapter."""
        asked = {
            name: str(context["params"][name] or "")
            for name in ("version", "reason")
            if name in context["params"]
        }
        # A person goes by their own name; `alert_router` says which alert it was.
        run = context["dag_run"]
        person = run.triggering_user_name or str((run.conf or {}).get("actor") or "airflow")
        words = {"actor": person, "run-id": context["dag_run"].run_id, "reason": asked.get("reason", "")}
        if self.rollout == "shadow":
            return {**words, "reason": "a candidate for production", "version": asked.get("version", "")}
        if self.rollout == "advance":
            begun = said_by(context, SHADOW)
            first = self.settings.config.promote.stages[1].name
            people = approvers(context) if self.arguments["to"] == first else []
            why = f"approved by {' and '.join(people)}" if people else "the judge agreed"
            who = {"actor": ", ".join(people) or "judge", "reason": why}
            return {**words, **who, "version": begun["version"], "digest": begun["digest"], **self.arguments}
        return {**words, **self.arguments}

    def ask(self, context: Context, words: Mapping[str, str]) -> RolloutResult:
        """Run the command; raises AirflowException with the fault's sentence."""
        with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
            file = Path(folder) / "result.json"
            where = {"home": str(self.settings.home), "config": str(self.settings.config_path)}
            options = {**where, **words, "result": str(file)}
            python = [str(self.settings.python), "-m", "pipelines", self.step]
            command = [*python, *(f"--{name}={value}" for name, value in options.items())]
            status, last = self._run(command, traceparent(context))
            if status == 0 and file.exists():
                result = RolloutResult.model_validate_json(file.read_bytes())
                context["ti"].xcom_push(ANSWER, result.model_dump(mode="json"))
                return result
        fault = sentence(self.step, status, last)
        context["ti"].xcom_push(FAULT, fault)
        raise AirflowFailException(fault) if status == USER_ERROR else AirflowException(fault)


class AbortOperator(RolloutOperator):
    """Ends the rollout unless it got to production; skipped where there is nothing to end."""

    def execute(self, context: Context) -> None:
        begun, arrived = said_by(context, SHADOW), said_by(context, PRODUCTION)
        if (arrived or {}).get("answer") == RolloutAnswer.MOVED:
            raise AirflowSkipException("It is in production.")
        if (begun or {}).get("answer") != RolloutAnswer.MOVED:
            raise AirflowSkipException("No rollout began.")
        actor, reason = self._why(context)
        words = {"actor": actor, "reason": reason, "run-id": context["dag_run"].run_id}
        self.ask(context, {**words, "version": begun["version"], "digest": begun["digest"]})

    def _why(self, context: Context) -> tuple[str, str]:
        """Who ended it, and why: the judge, a person, nobody's answer, or a fault."""
        tasks = self.dag.topological_sort()
        answers = [said_by(context, task.task_id) for task in tasks if isinstance(task, RolloutOperator)]
        ended = [answer for answer in answers if answer and answer["answer"] == RolloutAnswer.ABORT]
        if ended:
            return "judge", "; ".join(ended[-1]["reasons"]) or ended[-1]["headline"]
        for task_id in (APPROVE, SECOND):
            answer = _approval(context, task_id)
            if answer and not answer["approved"]:
                person = answer["person"]
                return (person, f"not approved by {person}") if person else ("airflow", NOBODY)
        return "airflow", "a task of this run failed: a rollout that nobody watches is ended"


class Approval(ApprovalOperator):
    """A person's answer, kept for the ledger also when it is no.

    With `other_than`, the task of a first approval, the same person's second answer counts as a refusal.
    """

    def __init__(self, *, other_than: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.other_than = other_than

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        person = (event.get("responded_by_user") or {}).get("name", "")
        chosen = event.get("chosen_options")
        if self.other_than and person == (_approval(context, self.other_than) or {}).get("person"):
            self.log.warning("The same person answered twice: this counts as a refusal.")
            chosen = [self.REJECT]
        context["ti"].xcom_push(ANSWER, {"person": person, "approved": chosen == [self.APPROVE]})
        return super().execute_complete(context, {**event, "chosen_options": chosen})


def approval(task_id: str, settings: Settings, other_than: str = "") -> Approval:
    """A question to a person, bound to the candidate's digest. No answer in time is a refusal."""
    begun = f"ti.xcom_pull(task_ids='{SHADOW}', key='{ANSWER}')"
    judge = f"judge_{settings.config.promote.stages[0].name}"
    judged = f"ti.xcom_pull(task_ids='{judge}', key='{ANSWER}')"
    night = f"{{{{ {begun}['evidence']['night'] }}}}"
    # The plugin serves the report: browsers block file:// links.
    prefix = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return Approval(
        task_id=task_id,
        other_than=other_than,
        subject=f"Let users meet version {{{{ {begun}['version'] }}}}?",
        body=(
            f"Adapter version **{{{{ {begun}['version'] }}}}**, digest `{{{{ {begun}['digest'] }}}}`. "
            "The approval holds for this content only.\n\n"
            f"[Report of its night, {night}]({prefix}/model-loop/runs/{night}/report/report.html) "
            f"(on the machine: `{{{{ {begun}['evidence']['report'] }}}}`)\n\n"
            f"The judge said: {{{{ {judged}['reasons'] | join('; ') }}}}"
        ),
        defaults=Approval.REJECT,
        response_timeout=timedelta(seconds=settings.config.promote.approval_timeout_s),
        execution_timeout=None,
    )


def said_by(context: Context, task_id: str) -> dict[str, Any] | None:
    """The answer of another task of this run."""
    return context["ti"].xcom_pull(task_ids=task_id, key=ANSWER)


def approvers(context: Context) -> list[str]:
    answers = (_approval(context, task_id) for task_id in (APPROVE, SECOND))
    return [answer["person"] for answer in answers if answer]


def _approval(context: Context, task_id: str) -> dict[str, Any] | None:
    if task_id not in context["task"].dag.task_ids:
        return None
    return said_by(context, task_id)
