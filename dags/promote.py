"""
# Promote

Moves a registered candidate to production in stages: shadow, a person's approval, canary, larger canary,
production. A stage is passed on live traffic only.

**Paused** until you switch it on: a rollout needs a gateway that answers users.

**Runs** when a night has registered a candidate (asset `nightshift_candidate`), or by hand with a version.
One rollout at a time. Without a version it takes the one that has the alias `candidate` in the registry.
It begins only if the candidate was measured against what is in production now. Otherwise every task is
skipped and the note says so: the next night with new feedback trains that candidate's feedback again, on what
is in production by then.

**Stages** and their rules (weight, bake time, least number of answers, error rates) are in the section
`[promote]`. A task `judge_STAGE` analyses the stage with `nightshift rollout-judge` every `interval_s`
seconds and holds no worker in between. The stated error rates hold however often it looks.

**Approval** waits under *Required Actions*. It holds for the adapter's digest: if the files of the version
change, the next move is refused. With `promote.second_person` another person has to agree too. No answer in
time is a refusal.

**Reading the grid.** A rollout ends in `promoted`, or in `abort` and `aborted`: the candidate was worse, the
stage ran out of time, or a person refused. An abort is an answer, so the run succeeds, and its note says why.
A fault fails the run, and ends the rollout too. Without a candidate every task is skipped.

**People are told**, as the section `[notify]` says, when a run fails, or when it takes longer than its stages
and approvals may take together.

**Each move** is one row in the ledger; the registry's aliases follow it. Every task can be run again.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, TriggerRule, chain

from nightshift.dag import common, late_after
from nightshift.operators.approval import APPROVE, SECOND, SHADOW, approval
from nightshift.operators.rollout import CANDIDATE, PRODUCTION, AbortOperator, RolloutOperator
from nightshift.settings import Settings

SETTINGS = Settings.from_environment()
RULES = SETTINGS.config.promote
FIRST, *CANARIES = (stage.name for stage in RULES.stages)
APPROVALS = RULES.approval * (1 + RULES.second_person)
# The longest that the rules allow, and an hour for what lies between the tasks.
LONGEST_S = sum(stage.max_s for stage in RULES.stages) + APPROVALS * RULES.approval_timeout_s + 3_600

with DAG(
    "promote",
    doc_md=__doc__,
    description="From a candidate to production, in stages that can turn back",
    schedule=[CANDIDATE],
    is_paused_upon_creation=True,
    params={
        "version": Param(
            None,
            type=["null", "string"],
            pattern="^[0-9]+$",
            title="Version",
            description="A registered version. Empty: the one that has the alias `candidate`.",
        )
    },
    deadline=late_after(LONGEST_S),
    tags=["nightshift", "serving"],
    **common(SETTINGS),
):

    def analyse(stage: str) -> RolloutOperator:
        return RolloutOperator(
            task_id=f"judge_{stage}", settings=SETTINGS, rollout="judge", arguments={"stage": stage}
        )

    def move(to: str) -> RolloutOperator:
        return RolloutOperator(task_id=to, settings=SETTINGS, rollout="advance", arguments={"to": to})

    shadow = RolloutOperator(task_id=SHADOW, settings=SETTINGS, rollout="shadow")
    asked = [approval(APPROVE, SETTINGS)] if RULES.approval else []
    asked += [approval(SECOND, SETTINGS, APPROVE)] if RULES.approval and RULES.second_person else []
    canaries = [task for stage in CANARIES for task in (move(stage), analyse(stage))]
    production = move(PRODUCTION)
    abort = AbortOperator(task_id="abort", settings=SETTINGS, trigger_rule=TriggerRule.ALL_DONE)

    chain(shadow, analyse(FIRST), *asked, *canaries, production)
    production >> EmptyOperator(task_id="promoted")
    production >> abort >> EmptyOperator(task_id="aborted")
