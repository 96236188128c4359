"""
# Rollback

Puts back what answered users before the last promotion: one click, with a reason.

**Runs** by hand (the form asks why). The person who started it and the reason go into the ledger. First it
is checked that the files of the earlier adapter, and of the base model below it, are as they were registered;
the gateway then follows the ledger within a second. A rollout under way ends as well.

**Twice is safe**: with nothing to go back to, nothing changes, and the run says so.

**People are told**, as the section `[notify]` says, when a run fails.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, Param

from nightshift.notify import tell_failed
from nightshift.operators.rollout import RolloutOperator
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()

with DAG(
    "rollback",
    doc_md=__doc__,
    description="The previous production adapter back, at once",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params={
        "reason": Param(
            type="string", minLength=3, maxLength=500, title="Reason", description="Kept in the ledger."
        )
    },
    on_failure_callback=tell_failed,
    tags=["nightshift", "serving"],
    default_args={
        "owner": "nightshift",
        "retries": 1,
        "retry_delay": timedelta(seconds=2),
        "execution_timeout": timedelta(seconds=SETTINGS.config.step_timeout_s),
    },
):
    RolloutOperator(task_id="rollback", settings=SETTINGS, rollout="rollback")
