"""
# Nightly retrain

Reads one night's interactions, decides whether to train, fine-tunes a LoRA adapter, tests whether it is
better, fair and safe, and registers it as a candidate.

**Runs** on `schedule` of the configuration (cron in UTC; empty for none), when `alert_router` starts it, or
by hand with the form. One night at a time.

**Each task** runs one command, `nightshift STEP`, which you can run by hand too. A task that is cleared and
run again does the same work once: its result is kept under a fingerprint of its inputs and settings.

**Reading the grid.** A step may answer `skip` (nothing worth doing), `hold` (a person should look first),
`reject` (the candidate is not good enough) or `wait` (its improvement is not clear yet, and the next night
measures it again). The run succeeds, the later steps are skipped, and one of the last rows shows the outcome:
`trained`, `skipped`, `held`, `rejected` or `waiting`. The notes of the task and of the run give the reasons.
A fault fails the run; its note says what is wrong and what to do.

**People are told**, as the section `[notify]` says, when a night fails, is held, or is late
(`notify.night_late_s`), and when nights before it never ran. Each notice has the command that catches up.

**Next.** `trained` updates the asset `nightshift_candidate`, which starts `promote`.

**Pools.** `gpu` (one slot) runs training. `model` runs the steps that evaluate the model: as many at once as
`evaluations_at_once` says, because each reads the base's weights into memory; by default one a core.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TriggerRule

from nightshift.dag import common, cron, late_after
from nightshift.operators.rollout import CANDIDATE
from nightshift.operators.step import RecordOperator, StepOperator
from nightshift.params import params
from nightshift.settings import Settings
from pipelines.core.contract import NIGHTLY, Verdict

SETTINGS = Settings.from_environment()
POOLS = {"train": "gpu", "evaluate": "model", "fairness": "model", "safety": "model"}
# Databases and object store are waited for inside a step. Redis is not, so the second try comes later.
RETRY_DELAYS = {"features": {"retry_delay": timedelta(minutes=1)}}

with DAG(
    "nightly_retrain",
    doc_md=__doc__,
    description="From a night's interactions to a proven candidate adapter",
    schedule=cron(SETTINGS.config.schedule),
    params=params(SETTINGS.config),
    deadline=late_after(SETTINGS.config.notify.night_late_s),
    tags=["nightshift", "training"],
    **common(SETTINGS),
):
    steps = {
        step: StepOperator(
            task_id=step,
            settings=SETTINGS,
            pool=POOLS.get(step, "default_pool"),
            **RETRY_DELAYS.get(step, {}),
        )
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
