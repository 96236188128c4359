"""The gate's check of an LLM judge: it may reject a candidate, and only while it has proved itself. Pure."""

from __future__ import annotations

from pipelines.core.config import Gate
from pipelines.core.facts.gate import Check
from pipelines.core.facts.judge import JudgeFacts
from pipelines.policy.night.measured import Measured
from pipelines.policy.stats.paired import mean_limits


def judge_check(found: Measured, settings: Gate) -> list[Check]:
    """The row of the gate's table; none without a judge.

    It fails where even the upper limit of won minus lost lies below the limit. A judge that is not proved, or
    could not be asked, holds nothing: it is shown.
    """
    limit = -settings.max_judged_loss
    row = Check(
        check="judge",
        measure="questions won minus lost, by the judge",
        answer="cannot conclude",
        detail=found.lacks("evaluate.judge", ""),
        limit=limit,
    )
    if "evaluate.judge" in found.unreadable:
        return [row]
    facts = found.evaluate.judge
    if facts is None:
        return []
    row = row.model_copy(update={"blocks": False, **_numbers(facts, settings.alpha)})
    if words := _does_not_count(facts):
        return [row.model_copy(update={"detail": f"shown only: {words}. {_counts(facts)}"})]
    assert row.low is not None
    assert row.high is not None
    answer = "fail" if row.high < limit else "pass" if row.low >= limit else "cannot conclude"
    return [row.model_copy(update={"answer": answer, "detail": _counts(facts)})]


def _numbers(facts: JudgeFacts, alpha: float) -> dict[str, float]:
    if not facts.judged:
        return {}
    counts = (facts.won, facts.lost, facts.tied)
    low, high = mean_limits((1.0, -1.0, 0.0), alpha, alpha, counts=counts)
    return {"value": (facts.won - facts.lost) / facts.judged, "low": low, "high": high}


def _does_not_count(facts: JudgeFacts) -> str:
    """Why the judge does not count; empty where it does."""
    if not facts.proof.is_proved:
        return f"the judge has not proved itself ({'; '.join(facts.proof.lacks)})"
    if not facts.judged:
        return facts.stopped or "it judged no pair"
    if not facts.is_readable:
        return f"{facts.unreadable} of its verdicts could not be read"
    return ""


def _counts(facts: JudgeFacts) -> str:
    words = f"the candidate wins {facts.won}, production {facts.lost}, ties {facts.tied}"
    left = f"; {facts.unjudged} not judged ({facts.stopped})" if facts.unjudged else ""
    return words + left
