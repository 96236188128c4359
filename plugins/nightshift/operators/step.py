"""The steps of a night as Airflow tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nightshift.notify import tell_held, tell_missed
from nightshift.operators.command import ANSWER, CommandOperator
from nightshift.params import Plan, plan
from nightshift.settings import Settings
from nightshift.traces import TRACEPARENT, traceparent
from pipelines.core.contract import NIGHTLY, Verdict
from pipelines.core.results import StepResult
from pipelines.stores import run_uri

if TYPE_CHECKING:
    from airflow.sdk import Context


class StepOperator(CommandOperator):
    """Runs the step that its task is named after.

    A verdict other than proceed skips the steps that follow; the task itself succeeds.
    """

    RESULT = StepResult
    ui_color = "#e8edf7"

    def words(self, context: Context) -> list[str]:
        run = _plan(self.settings, context)
        changed = [f"--set={key}={json.dumps(value)}" for key, value in run.overrides.items()]
        return [self.task_id, f"--run-dir={run_uri(self.settings.config, run.run_id)}", *changed]

    def act(self, context: Context, result: StepResult) -> None:
        if result.verdict is not Verdict.PROCEED:
            self.log.warning("%s: %s. Later steps are skipped.", result.verdict, "; ".join(result.reasons))
            following = [task for task in self.downstream_list if task.task_id in NIGHTLY]
            self.skip(context["ti"], following)


class RecordOperator(StepOperator):
    """The step that closes a night. Of its downstream tasks only the one named after the outcome goes on."""

    OUTCOMES: Mapping[str, str] = {
        Verdict.PROCEED: "trained",
        Verdict.SKIP: "skipped",
        Verdict.HOLD: "held",
        Verdict.REJECT: "rejected",
        Verdict.WAIT: "waiting",
    }

    def act(self, context: Context, result: StepResult) -> None:
        run = _plan(self.settings, context)
        context["ti"].xcom_push(TRACEPARENT, traceparent(context))  # for the rollout that this night may wake
        answers = context["ti"].xcom_pull(task_ids=list(NIGHTLY), key=ANSWER)
        verdicts = (answer["verdict"] for answer in answers if answer)
        last = next((verdict for verdict in verdicts if verdict != Verdict.PROCEED), Verdict.PROCEED)
        if last == Verdict.HOLD:
            tell_held(self.settings, context, run, result.reasons)
        tell_missed(self.settings, context, run)
        self.skip_all_except(context["ti"], self.OUTCOMES[last])


def _plan(settings: Settings, context: Context) -> Plan:
    return plan(context["params"], context["dag_run"].run_after, settings.config.ingest.zone)
