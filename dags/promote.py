"""
# Promote

Moves a registered candidate to production in stages, each of which it has to earn on live traffic:
shadow, judge, a person's approval, canary, judge, larger canary, judge, production.

**Paused** until a person switches it on: a rollout needs a gateway that answers users.

**Runs** when a night has registered a candidate (asset `nightshift_candidate`), or by hand with a version.
One rollout at a time. Which version is meant is read from the registry's alias `candidate`: an event only
wakes it.

**Stages**, their weights, bake times, least numbers of answers and the judge's error rates are the section
`[promote]` of the configuration. A judge's task asks `python -m pipelines rollout-judge` every `interval_s`
and holds no worker between two looks; its answer is valid at any look.

**Approval** waits under *Required Actions*. It is bound to the adapter's digest: if the files behind the
version change, the next move is refused. With `promote.second_person` another person has to agree too. No
answer in time means no promotion.

**Reading the grid.** A rollout ends in `promoted`, or in `abort` and `aborted`: the judge found the candidate
worse, or found too little evidence in the stage's time, or a person said no. That is an answer, so the run
succeeds, and its note says why. A fault fails the run, and ends the rollout as well. With no candidate
waiting all is skipped.

**People are told**, as the section `[notify]` says, when a run fails, or lasts longer than its stages and
approvals may take together.

**Each move** is one append to the ledger, then the registry's aliases follow; every task can be run again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, DeadlineAlert, DeadlineReference, Param, SyncCallback, TriggerRule, chain

from nightshift.notify import tell_failed, tell_late
from nightshift.operators.rollout import (
    APPROVE,
    CANDIDATE,
    PRODUCTION,
    SECOND,
    SHADOW,
    AbortOperator,
    RolloutOperator,
    approval,
)
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()
RULES = SETTINGS.config.promote
FIRST, *CANARIES = (stage.name for stage in RULES.stages)
APPROVALS = RULES.approval * (1 + RULES.second_person)
# All that a rollout may take by its own rules, and an hour for what lies between.
LONGEST_S = sum(stage.max_s for stage in RULES.stages) + APPROVALS * RULES.approval_timeout_s + 3_600

with DAG(
    "promote",
    doc_md=__doc__,
    description="From a candidate to production, in stages that can turn back",
    schedule=[CANDIDATE],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    params={
        "version": Param(
            None,
            type=["null", "string"],
            pattern="^[0-9]+$",
            title="Version",
            description="A registered version. Empty: the one that waits as candidate.",
        )
    },
    on_failure_callback=tell_failed,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=LONGEST_S),
        callback=SyncCallback(tell_late),
    ),
    tags=["nightshift", "serving"],
    default_args={
        "owner": "nightshift",
        "retries": 1,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(seconds=SETTINGS.config.step_timeout_s),
    },
):
    shadow = RolloutOperator(task_id=SHADOW, settings=SETTINGS, rollout="shadow")

    def judge(stage: str) -> RolloutOperator:
        return RolloutOperator(
            task_id=f"judge_{stage}", settings=SETTINGS, rollout="judge", arguments={"stage": stage}
        )

    def move(to: str) -> RolloutOperator:
        return RolloutOperator(task_id=to, settings=SETTINGS, rollout="advance", arguments={"to": to})

    asked = [approval(APPROVE, SETTINGS)] if RULES.approval else []
    asked += [approval(SECOND, SETTINGS, APPROVE)] if RULES.approval and RULES.second_person else []
    canaries = [task for stage in CANARIES for task in (move(stage), judge(stage))]
    production = move(PRODUCTION)
    abort = AbortOperator(
        task_id="abort", settings=SETTINGS, rollout="abort", trigger_rule=TriggerRule.ALL_DONE
    )

    chain(shadow, judge(FIRST), *asked, *canaries, production)
    production >> EmptyOperator(task_id="promoted")
    production >> abort >> EmptyOperator(task_id="aborted")
