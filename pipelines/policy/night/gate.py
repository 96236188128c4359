"""The gate: one table, one verdict, from what evaluate, fairness and safety measured. Pure; fails closed.

The same frozen suite is asked night after night. Its k-th question is asked at the level
alpha / (k (k + 1)), which sums to alpha over all nights, so the chance that a candidate no better than
the margin is ever promoted stays at most alpha (alpha spending as in Lan and DeMets 1983; union bound).
That also holds when each candidate depends on earlier verdicts: until the first false promotion all of
them read "rejected", so they tell nothing (Blum and Hardt 2015). It does not hold for someone who tunes
against the suite's published numbers: renew the suite for that, which starts the count again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.core.config import Gate
from pipelines.core.contract import Verdict
from pipelines.policy.stats.paired import mean_limits, sign_test

Answer = Literal["pass", "fail", "cannot conclude"]
BASELINES = {
    "base": "the bare base model, because no adapter is in production",
    "adapter": "the adapter in production",
}
FAIRNESS: dict[str, Answer] = {"not worse": "pass", "worse": "fail", "cannot conclude": "cannot conclude"}


@dataclass(frozen=True)
class Row:
    """One check of the table. Numbers are None where there is none to show."""

    check: str
    measure: str
    answer: Answer
    detail: str
    limit: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    blocks: bool = True  # whether `cannot conclude` holds the candidate back; `fail` always rejects it


def alpha_tonight(alpha: float, asks_before: int) -> float:
    """The level of tonight's question to a suite that was asked `asks_before` times."""
    k = asks_before + 1
    return alpha / (k * (k + 1))


def judge(
    baseline: Mapping[str, Any],
    evaluate: Mapping[str, Any],
    fairness: Mapping[str, Any],
    safety: Mapping[str, Any],
    settings: Gate,
    asks_before: int,
) -> tuple[list[Row], Verdict]:
    """Rows and verdict: a failed check rejects, an open one holds, and only all passed proceed."""
    kind, level = baseline.get("kind"), alpha_tonight(settings.alpha, asks_before)
    rows = [
        _baseline(kind, evaluate.get("baseline")),
        _improvement(evaluate.get("paired"), settings.min_improvement, level),
        _forgetting(kind, evaluate.get("forgetting"), settings.max_forgetting, settings.alpha),
        _general(evaluate.get("general"), settings.max_general_loss),
        _ratio("perplexity", evaluate.get("perplexity"), settings.max_perplexity_ratio),
        _ratio("latency", evaluate.get("latency_ms"), settings.max_latency_ratio),
        _fairness(fairness, settings.hold_on_unclear_fairness),
        _safety(safety),
    ]
    return rows, verdict_of(rows)


def verdict_of(rows: list[Row]) -> Verdict:
    if not rows or any(row.answer == "cannot conclude" and row.blocks for row in rows):
        unclear = Verdict.HOLD
    else:
        unclear = Verdict.PROCEED
    return Verdict.REJECT if any(row.answer == "fail" for row in rows) else unclear


def _baseline(pinned: Any, evaluated: Any) -> Row:
    if pinned not in BASELINES or evaluated != pinned:
        detail = f"decide pinned {pinned or 'nothing'}, evaluate compared with {evaluated or 'nothing'}"
        return Row("baseline", "the model compared with", "fail", detail)
    return Row("baseline", "the model compared with", "pass", BASELINES[pinned])


def _improvement(part: Any, margin: float, alpha: float) -> Row:
    row: dict[str, Any] = {
        "check": "improvement",
        "measure": "task accuracy, candidate minus production",
        "limit": margin,
    }
    changes = _changes(part)
    if not changes:
        return Row(**row, answer="cannot conclude", detail="evaluate reports no paired answers")
    low, high = mean_limits(changes, alpha, alpha)
    gains, losses = changes.count(1), changes.count(-1)
    return Row(
        **row,
        answer="pass" if low >= margin else "fail",
        detail=f"{len(changes)} items: only the candidate right on {gains}, only production on {losses}; "
        f"limits at level {alpha:.4g}, exact McNemar test",
        value=(gains - losses) / len(changes),
        low=low,
        high=high,
        p_value=sign_test(gains, losses),
    )


def _forgetting(kind: Any, part: Any, margin: float, alpha: float) -> Row:
    """On the kept-back rows of earlier nights, which no adapter was trained on."""
    row: dict[str, Any] = {
        "check": "forgetting",
        "measure": "earlier nights, candidate minus production",
        "limit": -margin,
    }
    if kind == "base" and part is None:
        return Row(**row, answer="pass", detail="nothing to forget: no adapter is in production")
    changes = _changes(part.get("paired")) if isinstance(part, Mapping) else []
    if not changes:
        return Row(**row, answer="cannot conclude", detail="evaluate reports no answers on earlier nights")
    low, high = mean_limits(changes, alpha, alpha)
    found = _not_lost(row, sum(changes) / len(changes), low, high, len(changes))
    # The bare base learned nothing on earlier nights, so doubt is no reason to wait; a proven loss still is.
    return replace(found, blocks=kind != "base")


def _general(part: Any, margin: float) -> Row:
    row: dict[str, Any] = {
        "check": "general ability",
        "measure": "frozen slice, candidate minus production",
        "limit": -margin,
    }
    difference = part.get("difference") if isinstance(part, Mapping) else None
    value, low, high = (_number(difference, key) for key in ("value", "low", "high"))
    n = _count(part, "n")
    if value is None or low is None or high is None or not n:
        return Row(**row, answer="cannot conclude", detail="evaluate reports no such comparison")
    return _not_lost(row, value, low, high, n)


def _not_lost(row: dict[str, Any], value: float, low: float, high: float, n: int) -> Row:
    """Non-inferiority: the whole interval lies above the limit. No correction: every check must pass."""
    limit = row["limit"]
    answer: Answer = "cannot conclude"
    detail = f"a loss of {-low:.3f} is possible on {n} items: ask more items"
    if low >= limit:
        answer, detail = "pass", f"a loss beyond the limit is excluded on {n} items"
    elif high < 0 and value <= limit:
        answer, detail = "fail", f"the loss on {n} items is beyond chance and beyond the limit"
    return Row(**row, answer=answer, detail=detail, value=value, low=low, high=high)


def _ratio(check: str, part: Any, limit: float) -> Row:
    row: dict[str, Any] = {"check": check, "measure": "candidate over production", "limit": limit}
    value = _number(part, "ratio")
    if value is None or value <= 0:
        return Row(**row, answer="cannot conclude", detail=f"evaluate reports no {check}")
    detail = f"{part['production']:.4g} to {part['candidate']:.4g}" if "production" in part else ""
    return Row(**row, answer="pass" if value <= limit else "fail", detail=detail, value=value)


def _fairness(facts: Mapping[str, Any], hold: bool) -> Row:
    rows = [*facts.get("stereotype", ()), *facts.get("slices", ())]
    said = facts.get("answer")
    if not rows or said not in FAIRNESS:
        return Row("fairness", "groups worse", "cannot conclude", "fairness reports no groups", 0)
    worse = sum(row["answer"] == "worse" for row in rows)
    unclear = sum(row["answer"] == "cannot conclude" for row in rows)
    answer = "fail" if worse else FAIRNESS[said]
    detail = f"{worse} of {len(rows)} groups worse, {unclear} cannot be concluded with so few items"
    return Row("fairness", "groups worse", answer, detail, 0, worse, blocks=hold)


def _safety(facts: Mapping[str, Any]) -> Row:
    """Unknown is unsafe: a classifier that cannot judge lets nothing through."""
    said = facts.get("answer", "missing")
    detail = "; ".join(facts.get("reasons", ())) or f"safety answers: {said}"
    return Row("safety", "harm, toxicity, leaks", "pass" if said == "safe" else "fail", detail)


def _changes(paired: Any) -> list[float]:
    """Candidate minus production, item by item, from the table of paired answers; empty if unusable."""
    counts = [_count(paired, key) for key in ("n", "only_candidate", "only_production")]
    n, gains, losses = (count or 0 for count in counts)
    if None in counts or gains + losses > n:
        return []
    return [1.0] * gains + [-1.0] * losses + [0.0] * (n - gains - losses)


def _number(part: Any, key: str) -> float | None:
    value = part.get(key) if isinstance(part, Mapping) else None
    real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if real else None  # type: ignore[arg-type]


def _count(part: Any, key: str) -> int | None:
    value = _number(part, key)
    return int(value) if value is not None and value >= 0 and value == int(value) else None
