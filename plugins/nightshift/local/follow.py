"""Starts a night through Airflow's REST API and shows its steps as they finish."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightshift.local.api import Api
from nightshift.operators.command import ANSWER, FAULT
from pipelines.core.contract import CLOSING, NIGHTLY, Verdict
from pipelines.core.errors import MachineError
from pipelines.core.results import StepResult, progress_line

DAG_ID = "nightly_retrain"
DAG = f"/api/v2/dags/{DAG_ID}"
POLL_S = 0.7
PARSE_LIMIT_S = 90
ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}


@dataclass(frozen=True)
class Night:
    """How a run ended, in seconds. In `idle_s` of them no step's command ran."""

    succeeded: bool
    seconds: float
    idle_s: float


def start_night(api: Api, conf: dict[str, Any]) -> str:
    """Trigger a run, or find the unfinished one with the same conf; returns Airflow's run id.

    Raises MachineError where Airflow does not know the DAG.
    """
    deadline = time.monotonic() + PARSE_LIMIT_S
    while not api.call(DAG):
        errors = api.call("/api/v2/importErrors")["import_errors"]
        if errors or time.monotonic() > deadline:
            why = errors[0]["stack_trace"].strip().splitlines()[-1] if errors else "it was not parsed in time"
            raise MachineError(f"Airflow has no DAG {DAG_ID}: {why}.", "Correct dags/ or the configuration.")
        time.sleep(0.3)
    unfinished = api.call(f"{DAG}/dagRuns?state=running&state=queued&order_by=id")["dag_runs"]
    for run in unfinished:
        if run["conf"] == conf:
            print(f"continuing the unfinished run {run['dag_run_id']}", flush=True)
            return run["dag_run_id"]
        print(f"waiting for the unfinished run {run['dag_run_id']}", flush=True)
    body = {"logical_date": None, "conf": conf}
    return api.call(f"{DAG}/dagRuns", body)["dag_run_id"]


def follow(api: Api, run_id: str) -> Night:
    """Print one line per step until the run ends. A run that had started before is timed from now."""
    since = time.time()
    shown: dict[tuple[str, int], str] = {}
    while True:
        run = run_of(api, run_id)
        tasks = run_of(api, run_id, "/taskInstances?limit=100")["task_instances"]
        ended = [task for task in tasks if task["state"] in ENDED or task["state"] == "up_for_retry"]
        for task in sorted(ended, key=lambda t: t["end_date"] or ""):
            key = (task["task_id"], task["try_number"])
            if shown.get(key) != task["state"]:
                shown[key] = task["state"]
                _show(api, run_id, task)
        if run["state"] in ("success", "failed"):
            return _ended(api, run, tasks, since)
        _show_running(tasks)
        time.sleep(POLL_S)


def _show(api: Api, run_id: str, task: dict[str, Any]) -> None:
    name, state = task["task_id"], task["state"]
    if name not in (*NIGHTLY, *CLOSING) or state in ("skipped", "upstream_failed", "removed"):
        return
    if state == "success":
        answer = xcom(api, run_id, name, ANSWER)
        _line(progress_line(result_of(answer)))
        for reason in answer["reasons"] if answer["verdict"] != Verdict.PROCEED else ():
            _line(f"          {reason}")
    else:
        retried = ", retried" if state == "up_for_retry" else ""
        sentence = xcom(api, run_id, name, FAULT) or f"{name} was ended from outside. Read its log."
        _line(f"{name:<9} fault{retried}: {sentence}")


def run_of(api: Api, run_id: str, rest: str = "") -> Any:
    """A run of the night's DAG, or what lies below it in the API."""
    return api.call(f"{DAG}/dagRuns/{run_id}{rest}")


def xcom(api: Api, run_id: str, task_id: str, key: str) -> Any:
    """What a task pushed under a key, or None."""
    entry = run_of(api, run_id, f"/taskInstances/{task_id}/xcomEntries/{key}?deserialize=true")
    return entry and entry["value"]


def result_of(answer: dict[str, Any]) -> StepResult:
    return StepResult.model_validate({name: answer[name] for name in StepResult.model_fields})


def _show_running(tasks: list[dict[str, Any]]) -> None:
    if not sys.stdout.isatty():
        return
    now = time.time()
    running = [t for t in tasks if t["state"] in ("running", "deferred") and t["start_date"]]
    words = ", ".join(f"{t['task_id']} {now - _seconds(t['start_date']):.0f} s" for t in running)
    print(f"\r\x1b[K… {words}" if words else "\r\x1b[K", end="", flush=True)


def _line(text: str) -> None:
    print(f"\r\x1b[K{text}" if sys.stdout.isatty() else text, flush=True)


def _ended(api: Api, run: dict[str, Any], tasks: list[dict[str, Any]], began: float) -> Night:
    ended = max(_seconds(run["end_date"]), began)
    answers = [xcom(api, run["dag_run_id"], t["task_id"], ANSWER) for t in tasks if t["state"] == "success"]
    spans = sorted((answer["started"], answer["ended"]) for answer in answers if answer)
    seconds = ended - began
    return Night(run["state"] == "success", seconds, seconds - covered(spans, began))


def covered(spans: list[tuple[float, float]], since: float) -> float:
    """Seconds after `since` that lie in at least one of the sorted (start, end) spans."""
    total, reached = 0.0, since
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
