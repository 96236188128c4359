"""
# Rollback

Puts back the adapter that answered users before the last promotion.

**Runs** by hand, with a reason, or when `alert_router` starts it. The ledger keeps the reason and who started
the run.

**Before it moves anything** it checks that the files of the earlier adapter, and of the base model below it,
are those that were registered. The gateway follows the ledger within a second. A rollout under way ends as
well.

**Running it twice is safe.** With nothing to go back to, nothing changes, and the run's note says so.

**People are told**, as the section `[notify]` says, when a run fails.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from nightshift.dag import common
from nightshift.operators.rollout import RolloutOperator
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()

with DAG(
    "rollback",
    doc_md=__doc__,
    description="The previous production adapter back, at once",
    schedule=None,
    params={
        "reason": Param(
            type="string", minLength=3, maxLength=500, title="Reason", description="Kept in the ledger."
        )
    },
    tags=["nightshift", "serving"],
    **common(SETTINGS, retry_delay_s=2),
):
    RolloutOperator(task_id="rollback", settings=SETTINGS, rollout="rollback")
