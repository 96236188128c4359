"""
# Nightly retrain

Reads what users did with the model on one night, decides whether training is worth it, fine-tunes a LoRA
adapter, proves that it is better and not unfair or unsafe, and registers it as a candidate.

**Runs** on the schedule of the configuration (`schedule`, cron in UTC; empty for none), when an alert arrives
(asset `nightshift_alert`), or by hand with the form. One night at a time.

**Each task** is a command, `python -m pipelines STEP`, that runs the same by hand. Its work is kept under its
fingerprint: clearing any task and running it again is safe.

**Reading the grid.** `skip` (nothing worth doing), `hold` (a person should look first) and `reject` (the
candidate is not good enough) are answers: the steps after it are skipped, the run succeeds, and the last
rows show which it was: `trained`, `skipped`, `held` or `rejected`. The task and the run carry the reasons
as a note. A fault fails the run; its note says what was expected, what was found and what to do next.

**People are told**, as the section `[notify]` says, when a night fails, is held, is late
(`notify.night_late_s`), or when nights before it never ran; each time with the command that catches up.

**What follows.** `trained` wakes `promote` through the asset `nightshift_candidate`.

**Pools.** `gpu` (one slot) holds training; `model` holds the steps that run the model, one a core.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    SyncCallback,
    TriggerRule,
)

from nightshift.notify import tell_failed, tell_late
from nightshift.operators.command import RecordOperator, StepOperator
from nightshift.operators.rollout import CANDIDATE
from nightshift.params import params
from nightshift.settings import Settings
from pipelines.core.contract import NIGHTLY, Verdict

SETTINGS = Settings.from_environment()
ALERT = Asset("nightshift_alert", uri="nightshift://alert")
CRON = SETTINGS.config.schedule
POOLS = {"train": "gpu", "evaluate": "model", "fairness": "model", "safety": "model"}

with DAG(
    "nightly_retrain",
    doc_md=__doc__,
    description="From a night's interactions to a proven candidate adapter",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable(CRON, timezone="UTC"), assets=[ALERT])
    if CRON
    else [ALERT],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params=params(SETTINGS.config),
    on_failure_callback=tell_failed,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=SETTINGS.config.notify.night_late_s),
        callback=SyncCallback(tell_late),
    ),
    tags=["nightshift", "training"],
    default_args={
        "owner": "nightshift",
        "retries": 1,  # for faults of the machine; an error to act on is not retried
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(seconds=SETTINGS.config.step_timeout_s),
    },
):
    steps = {
        step: StepOperator(task_id=step, settings=SETTINGS, pool=POOLS.get(step, "default_pool"))
        for step in NIGHTLY
    }
    for step, needs in NIGHTLY.items():
        [steps[need] for need in needs] >> steps[step]

    report = StepOperator(task_id="report", settings=SETTINGS, trigger_rule=TriggerRule.ALL_DONE)
    record = RecordOperator(task_id="record", settings=SETTINGS, trigger_rule=TriggerRule.NONE_FAILED)
    trained = RecordOperator.OUTCOMES[Verdict.PROCEED]
    outcomes = [
        EmptyOperator(task_id=name, outlets=[CANDIDATE] if name == trained else [])
        for name in RecordOperator.OUTCOMES.values()
    ]

    list(steps.values()) >> report >> record >> outcomes
    list(steps.values()) >> record
