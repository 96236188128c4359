"""The checks of the gate's table, a function each. What was not measured cannot be concluded."""

from __future__ import annotations

from typing import Any

from pipelines.core.config import Gate
from pipelines.core.facts.common import Kind, Ratio
from pipelines.core.facts.gate import Check, CheckAnswer
from pipelines.policy.night.forgetting import loss_of
from pipelines.policy.night.measured import Measured
from pipelines.policy.night.open_groups import answer_for
from pipelines.policy.stats.paired import mean_limits, mean_p_value

RATIO = "candidate over production"
BASELINES = {
    "base": "the bare base model, because no adapter is in production",
    "adapter": "the adapter in production",
}


def baseline(pinned: Kind, found: Measured) -> Check:
    """Evaluate must have compared with the model that decide pinned."""
    compared = found.evaluate.baseline
    same = compared == pinned
    detail = f"decide pinned {pinned}, evaluate compared with {compared or 'nothing'}"
    return Check(
        check="baseline",
        measure="the model compared with",
        answer="pass" if same else "fail",
        detail=BASELINES[pinned] if same else detail,
    )


def improvement(found: Measured, margin: float, alpha: float) -> Check:
    """On the frozen suite: the lower limit of the difference at this level must reach the margin."""
    words = "evaluate reports no paired answers"
    measure = f"task {found.evaluate.measure}, candidate minus production"
    check = _unknown("improvement", measure, found.lacks("evaluate.paired", words), margin)
    paired = found.evaluate.paired
    if paired is None or not paired.n:
        return check
    values, counts = paired.differences
    low, high = mean_limits(values, alpha, alpha, counts=counts)
    gains, losses = paired.only_candidate, paired.only_production
    better = "the candidate scores higher on {}, production on {}"
    words = better if paired.changes is not None else "only the candidate right on {}, only production on {}"
    return _with(
        check,
        answer="pass" if low >= margin else "fail",
        detail=f"{paired.n} items: {words.format(gains, losses)}; limits at level {alpha:.4g}",
        value=sum(value * count for value, count in zip(values, counts, strict=True)) / paired.n,
        low=low,
        high=high,
        p_value=mean_p_value(values, margin, counts=counts),
    )


def forgetting(pinned: Kind, found: Measured, settings: Gate) -> Check:
    """On the kept-back rows of earlier nights, which no adapter was trained on."""
    limit = -settings.max_forgetting
    name, part = "evaluate.forgetting", found.evaluate.forgetting
    measure, words = (
        "earlier nights, candidate minus production",
        "evaluate reports no answers on earlier nights",
    )
    check = _unknown("forgetting", measure, found.lacks(name, words), limit)
    if part is None and pinned == "base" and name not in found.unreadable:
        return _with(check, answer="pass", detail="nothing to forget: no adapter is in production")
    if part is None or not part.paired.n + part.disliked.count:
        return check
    loss = loss_of(part, limit, settings.alpha, settings.rating_odds)
    # The bare base learned nothing on earlier nights, so doubt is no reason to wait; a proven loss still is.
    waits = pinned != "base" and (settings.hold_on_missing_labels or not loss.for_labels)
    value = (loss.least + loss.most) / 2
    return _with(
        check,
        answer=loss.answer,
        detail=loss.in_words(),
        value=value,
        low=loss.low,
        high=loss.high,
        blocks=waits,
    )


def general(found: Measured, margin: float) -> Check:
    """On the frozen slice of general questions."""
    measure, words = "frozen slice, candidate minus production", "evaluate reports no such comparison"
    check = _unknown("general ability", measure, found.lacks("evaluate.general", words), -margin)
    part = found.evaluate.general
    if part is None or not part.n:
        return check
    difference = part.difference
    return _not_lost(check, -margin, difference.value, difference.low, difference.high, part.n)


def perplexity(found: Measured, limit: float) -> Check:
    why = found.lacks("evaluate.perplexity", "evaluate reports no perplexity")
    return _ratio(_unknown("perplexity", RATIO, why, limit), found.evaluate.perplexity, limit)


def latency(found: Measured, limit: float) -> Check:
    why = found.lacks("evaluate.latency_ms", "evaluate reports no latency")
    return _ratio(_unknown("latency", RATIO, why, limit), found.readings.latency_ms, limit)


def fairness(found: Measured, settings: Gate) -> Check:
    """No group may be worse, and few without power. See `open_groups`."""
    check = _unknown("fairness", "groups worse", "fairness reports no groups", 0)
    for part in ("answer", "stereotype", "slices"):
        if f"fairness.{part}" in found.unreadable:
            return _with(check, detail=found.lacks(f"fairness.{part}", ""))
    groups = (*(found.fairness.stereotype or ()), *(found.fairness.slices or ()))
    if not groups or found.fairness.answer is None:
        return check
    answer, detail = answer_for(found.fairness, settings)
    return _with(check, answer=answer, detail=detail, value=sum(one.answer == "worse" for one in groups))


def safety(found: Measured) -> Check:
    """Unknown is unsafe: a classifier that is too weak to tell lets nothing through."""
    answer = found.safety.answer
    words = "; ".join(found.safety.reasons or ()) or f"safety answers: {answer or 'missing'}"
    return Check(
        check="safety",
        measure="harm, toxicity, leaks",
        answer="pass" if answer == "safe" else "fail",
        detail=found.lacks("safety.answer", words),
    )


def _unknown(name: str, measure: str, why: str, limit: int | float) -> Check:
    return Check(check=name, measure=measure, answer="cannot conclude", detail=why, limit=limit)


def _not_lost(check: Check, limit: float, value: float, low: float, high: float, n: int) -> Check:
    """Pass when the whole interval lies above the limit (non-inferiority).

    The level is not corrected for the number of checks, because every one of them must pass.
    """
    answer: CheckAnswer = "cannot conclude"
    detail = f"a loss of {-low:.3f} is possible on {n} items: ask more items"
    if low >= limit:
        answer, detail = "pass", f"a loss beyond the limit is excluded on {n} items"
    elif high < 0 and value <= limit:
        answer, detail = "fail", f"the loss on {n} items is beyond chance and beyond the limit"
    return _with(check, answer=answer, detail=detail, value=value, low=low, high=high)


def _ratio(check: Check, part: Ratio | None, limit: float) -> Check:
    if part is None or part.ratio <= 0:
        return check
    detail = f"{part.production:.4g} to {part.candidate:.4g}"
    return _with(check, answer="pass" if part.ratio <= limit else "fail", detail=detail, value=part.ratio)


def _with(check: Check, **changes: Any) -> Check:
    return check.model_copy(update=changes)
