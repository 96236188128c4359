"""The gate: one table, one verdict, from what evaluate, fairness and safety measured. It fails closed."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.core.config import Gate
from pipelines.core.contract import Verdict
from pipelines.core.facts.common import Baseline, Kind
from pipelines.core.facts.gate import Check
from pipelines.policy.night import checks
from pipelines.policy.night.anchors import anchor_checks
from pipelines.policy.night.level import Asks, level_tonight
from pipelines.policy.night.measured import Measured


def check_candidate(
    pinned: Kind, found: Measured, settings: Gate, asks: Asks, anchors: Sequence[Baseline] = ()
) -> tuple[list[Check], Verdict]:
    """Checks and verdict: a failed check rejects, an open one holds, and only all passed proceed.

    `pinned` is the kind of baseline that decide chose; `anchors` are the other models that it chose.
    """
    table = [
        checks.baseline(pinned, found),
        checks.improvement(found, settings.min_improvement, level_tonight(settings, asks)),
        checks.forgetting(pinned, found, settings),
        checks.general(found, settings.max_general_loss),
        checks.perplexity(found, settings.max_perplexity_ratio),
        *anchor_checks(anchors, found, settings),
        checks.latency(found, settings.max_latency_ratio),
        checks.fairness(found, settings),
        checks.safety(found),
    ]
    return table, verdict_of(table)


def verdict_of(table: list[Check]) -> Verdict:
    """An empty table holds."""
    if any(check.answer == "fail" for check in table):
        return Verdict.REJECT
    if not table or any(check.answer == "cannot conclude" and check.blocks for check in table):
        return Verdict.HOLD
    return Verdict.PROCEED
