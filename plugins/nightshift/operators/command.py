"""One step of a night as an Airflow task: start the command, stream its log, act on its answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from nightshift.notify import tell_held, tell_missed
from nightshift.params import Plan, plan
from nightshift.processes import dies_with_parent, stop
from nightshift.settings import PROJECT, Settings
from nightshift.traces import TRACEPARENT, traceparent
from pipelines.core.contract import NIGHTLY, Verdict
from pipelines.core.results import StepResult

if TYPE_CHECKING:
    from airflow.sdk import Context

ANSWER = "answer"  # XCom: the step's StepResult, and when its command ran
FAULT = "fault"  # XCom: the sentence that says why it broke
SAID_FAULT = "fault: "  # how the command begins the line that says why it broke
USER_ERROR = 2  # exit status of the command for something that a retry cannot mend
KILL_GRACE_S = 3.0  # Airflow itself kills the task 5 s after it asked it to stop


class StepOperator(BaseOperator, SkipMixin):
    """Runs `python -m pipelines STEP` in the work environment.

    A verdict other than proceed skips the steps that follow; the task itself succeeds. A non-zero exit fails
    the task with the sentence that the command printed as its fault.
    """

    ui_color = "#e8edf7"

    def __init__(self, *, settings: Settings, step: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings
        self.step = step or self.task_id
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> None:
        result = self.answer(context)
        if result.verdict is not Verdict.PROCEED:
            self.log.warning("%s: %s. What follows is skipped.", result.verdict, "; ".join(result.reasons))
            following = [task for task in self.downstream_list if task.task_id in NIGHTLY]
            self.skip(context["ti"], following)

    def answer(self, context: Context) -> StepResult:
        """Run the command; raises AirflowException with the fault's sentence."""
        started = time.time()
        with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
            result_file = Path(folder) / "result.json"
            command = self.command(_plan(context), result_file)
            status, last_line = self._run(command, traceparent(context))
            if status == 0 and result_file.exists():
                result = StepResult.model_validate_json(result_file.read_bytes())
                answer = result.model_dump(mode="json")
                context["ti"].xcom_push(ANSWER, {**answer, "started": started, "ended": time.time()})
                return result
        fault = sentence(self.step, status, last_line)
        context["ti"].xcom_push(FAULT, fault)
        raise AirflowFailException(fault) if status == USER_ERROR else AirflowException(fault)

    def command(self, run: Plan, result_file: Path) -> list[str]:
        """The command line, the same that a person would type."""
        overrides = [
            part for key, value in run.overrides.items() for part in ("--set", f"{key}={json.dumps(value)}")
        ]
        where = ["--home", str(self.settings.home), "--config", str(self.settings.config_path)]
        run_dir = f"{self.settings.home}/runs/{run.run_id}"
        python = [str(self.settings.python), "-m", "pipelines", self.step]
        return [*python, "--run-dir", run_dir, *where, *overrides, "--result", str(result_file)]

    def on_kill(self) -> None:
        if self._process:
            stop(self._process, KILL_GRACE_S)

    def _run(self, command: Sequence[str], trace: str = "") -> tuple[int, str]:
        self.log.info("%s", " ".join(command))
        # Airflow's own settings hold secrets that a step has no business with.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
        environment |= {"TRACEPARENT": trace} if trace else {}
        self._process = process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGKILL),  # safe: a step survives kill -9
        )
        last_line = ""
        try:
            for line in process.stdout or ():
                self.log.info("%s", line.rstrip())
                if not last_line.startswith(SAID_FAULT):  # a library may still speak at exit
                    last_line = line.strip() or last_line
            return process.wait(), last_line
        finally:
            stop(process, KILL_GRACE_S)  # a timeout arrives here as an exception


class RecordOperator(StepOperator):
    """The step that closes a night. Of its downstream tasks only the one named after the outcome goes on."""

    OUTCOMES: Mapping[str, str] = {
        Verdict.PROCEED: "trained",
        Verdict.SKIP: "skipped",
        Verdict.HOLD: "held",
        Verdict.REJECT: "rejected",
    }

    def execute(self, context: Context) -> None:
        result, run = self.answer(context), _plan(context)
        context["ti"].xcom_push(TRACEPARENT, traceparent(context))  # for the rollout that the night may wake
        answers = context["ti"].xcom_pull(task_ids=list(NIGHTLY), key=ANSWER)
        verdicts = (answer["verdict"] for answer in answers if answer)
        last = next((verdict for verdict in verdicts if verdict != Verdict.PROCEED), Verdict.PROCEED)
        if last == Verdict.HOLD:
            tell_held(self.settings, context, run, result.reasons)
        tell_missed(self.settings, context, run)
        self.skip_all_except(context["ti"], self.OUTCOMES[last])


def _plan(context: Context) -> Plan:
    run = context["dag_run"]
    events = context["triggering_asset_events"]
    alerts = [event.extra for received in events.values() for event in received]
    return plan(context["params"], run.run_after, alerts)


def sentence(step: str, status: int, last_line: str) -> str:
    """What a person should read: the command's own words, or what its end tells."""
    if last_line.startswith(SAID_FAULT):
        return last_line.removeprefix(SAID_FAULT)
    how = f"exit status {status}"
    if status == 0:
        how = "no answer"
    if status < 0:
        name = signal.Signals(-status).name
        how = f"{name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return f"{step} ended with {how}; it last said: {last_line or 'nothing'}"
