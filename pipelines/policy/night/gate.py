"""The gate: one table, one verdict, from what evaluate, fairness and safety measured. It fails closed.

The same frozen suite is asked night after night. Its k-th question is asked at the level
alpha / (k (k + 1)), which sums to alpha over all nights, so the chance that a candidate no better than
the margin is ever promoted stays at most alpha (alpha spending as in Lan and DeMets 1983; union bound).
That also holds when each candidate depends on earlier verdicts: until the first false promotion all of
them read "rejected", so they tell nothing (Blum and Hardt 2015). It does not hold for someone who tunes
against the suite's published numbers: renew the suite for that, which starts the count again.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.core.config import Gate
from pipelines.core.contract import Verdict
from pipelines.core.facts.common import Baseline, Kind
from pipelines.core.facts.gate import Check
from pipelines.policy.night import checks
from pipelines.policy.night.anchors import anchor_checks
from pipelines.policy.night.measured import Measured


def alpha_tonight(alpha: float, asks_before: int) -> float:
    """The level of tonight's question to a suite that was asked `asks_before` times."""
    k = asks_before + 1
    return alpha / (k * (k + 1))


def check_candidate(
    pinned: Kind, found: Measured, settings: Gate, asks_before: int, anchors: Sequence[Baseline] = ()
) -> tuple[list[Check], Verdict]:
    """Checks and verdict: a failed check rejects, an open one holds, and only all passed proceed.

    `pinned` is the kind of baseline that decide chose; `anchors` are the other models that it chose.
    """
    table = [
        checks.baseline(pinned, found),
        checks.improvement(found, settings.min_improvement, alpha_tonight(settings.alpha, asks_before)),
        checks.forgetting(pinned, found, settings),
        checks.general(found, settings.max_general_loss),
        checks.perplexity(found, settings.max_perplexity_ratio),
        *anchor_checks(anchors, found, settings),
        checks.latency(found, settings.max_latency_ratio),
        checks.fairness(found, settings.hold_on_unclear_fairness),
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
