"""The gate: one table, one verdict, from what evaluate, fairness and safety measured. It fails closed."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.core.config import Gate
from pipelines.core.contract import Verdict
from pipelines.core.facts.common import Baseline, Kind, Waiting
from pipelines.core.facts.gate import Check
from pipelines.policy.night import checks
from pipelines.policy.night.anchors import anchor_checks
from pipelines.policy.night.claim import fresh_rows, improvement
from pipelines.policy.night.influence import influence_check
from pipelines.policy.night.instructions import instruction_check
from pipelines.policy.night.judge import judge_check
from pipelines.policy.night.level import Asks, level_tonight
from pipelines.policy.night.measured import Measured


def check_candidate(
    pinned: Kind,
    found: Measured,
    settings: Gate,
    asks: Asks,
    anchors: Sequence[Baseline] = (),
    waiting: Waiting | None = None,
) -> tuple[list[Check], Verdict]:
    """Checks and verdict: a failed check rejects, an open one holds, and only all passed proceed.

    `pinned` is the kind of baseline that decide chose; `anchors` are the other models that it chose.
    `waiting`: the candidate, if it waited before. It waits (again) where nothing but its improvement is open.
    """
    level = level_tonight(settings, asks)
    table = [
        checks.baseline(pinned, found),
        improvement(found, settings, level, waiting),
        checks.forgetting(pinned, found, settings),
        *influence_check(pinned, found, settings),
        *judge_check(found, settings),
        checks.general(found, settings.max_general_loss),
        checks.perplexity(found, settings.max_perplexity_ratio),
        *instruction_check(found, settings.max_instruction_loss, settings.alpha),
        *anchor_checks(anchors, found, settings),
        checks.latency(found, settings.max_latency_ratio),
        checks.fairness(found, settings),
        checks.safety(found),
    ]
    verdict = verdict_of(table)
    others = [check for check in table if check.check != "improvement"]
    if verdict is Verdict.HOLD and verdict_of(others) is Verdict.PROCEED:
        verdict = Verdict.WAIT if fresh_rows(found, settings, level, waiting) else verdict
    return table, verdict


def verdict_of(table: list[Check]) -> Verdict:
    """An empty table holds."""
    if any(check.answer == "fail" for check in table):
        return Verdict.REJECT
    if not table or any(check.answer == "cannot conclude" and check.blocks for check in table):
        return Verdict.HOLD
    return Verdict.PROCEED
