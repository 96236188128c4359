"""The rollout analysis: continue, promote or abort, from what users did. Pure; it may be asked at any time.

Over a whole rollout, whatever the number of looks:

- a candidate that is worse than production by the last stage's margin gets to production with a probability
  of at most `alpha_promote`;
- a candidate that is no worse in any respect is aborted as worse with a probability of at most `alpha_abort`,
  which the tests share equally. In the shadow this is about all answers, however few users correct, as long
  as pairs that the candidate wins and pairs that it loses are rated alike, up to the factor `rating_odds`.

The shadow goes on where it cannot conclude, and says so: what gets to production is shown by users' ratings.
Missing data never promotes: a stage whose time is up without a decision ends the rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from pipelines.core.config import Promote, Stage
from pipelines.policy.rollout.evidence import abort_bar, abort_tests, not_worse_test
from pipelines.policy.rollout.observations import Copies, Observations, allowed_rise, guard_flags
from pipelines.policy.rollout.pairs import PairsFound, pairs_found

Numbers = dict[str, Any]


class RolloutDecision(StrEnum):
    CONTINUE = "continue"
    PROMOTE = "promote"
    ABORT = "abort"


@dataclass(frozen=True)
class Analysis:
    """The decision at one look, its reasons, and the numbers behind it."""

    decision: RolloutDecision
    reasons: tuple[str, ...]
    evidence: dict[str, Any] = field(default_factory=dict)


def analyse(stage: Stage, rules: Promote, observed: Observations) -> Analysis:
    """The decision at this look."""
    return in_time(stage, observed.seconds, shown(stage, rules, observed))


def shown(stage: Stage, rules: Promote, observed: Observations) -> Analysis:
    """What the answers show, were there time without end."""
    tests = abort_tests(stage, rules, observed)
    missing, numbers = _missing(stage, rules, observed)
    evidence = numbers | {f"log_evidence_{name}": round(test.log_evidence, 3) for name, test in tests.items()}
    evidence["bar_abort"] = round(abort_bar(rules), 3)
    if worse := tuple(test.words for test in tests.values() if test.reached):
        return Analysis(RolloutDecision.ABORT, worse, evidence)
    if missing:
        return Analysis(RolloutDecision.CONTINUE, missing, evidence)
    counted = f"{evidence['answers']} answers, {evidence['rated']} rated"
    words = f"{stage.name}: {counted}; every guard is quiet"
    found = () if stage.weight else (_pairs_found(rules, observed).in_words(stage.margin),)
    return Analysis(RolloutDecision.PROMOTE, (words, *found), evidence)


def in_time(stage: Stage, seconds: float, found: Analysis) -> Analysis:
    """The rollout ends where the stage's time is up without a decision."""
    if found.decision is not RolloutDecision.CONTINUE or seconds < stage.max_s:
        return found
    too_few = f"Not enough evidence after {stage.max_s} s."
    return Analysis(RolloutDecision.ABORT, (too_few, *found.reasons), found.evidence)


def _missing(stage: Stage, rules: Promote, observed: Observations) -> tuple[tuple[str, ...], Numbers]:
    """What still keeps the candidate from the next stage, in words; and the numbers."""
    parts = (
        _missing_counts(stage, rules, observed),
        _missing_proof(stage, rules, observed),
        _missing_quiet(stage, rules, observed),
        _missing_copies(stage, rules, observed.copies),
    )
    numbers: Numbers = {}
    for _, found in parts:
        numbers |= found
    return tuple(words for missing, _ in parts for words in missing), numbers


def _missing_counts(stage: Stage, rules: Promote, observed: Observations) -> tuple[list[str], Numbers]:
    answers = sum(one.candidate for one in observed.attempts)
    rated = sum(is_candidate for is_candidate, _ in observed.ratings)
    counts = (
        (observed.seconds, stage.bake_s, "seconds of bake time"),
        (answers, stage.min_answers, "answers of the candidate"),
        (rated, stage.min_rated, "rated answers of the candidate"),
    )
    missing = [f"{have:.0f} of {need} {what}" for have, need, what in counts if have < need]
    numbers = {"seconds": round(observed.seconds), "answers": answers, "rated": rated}
    if missing and observed.waiting:
        most = f"one tenant may give {rules.max_tenant_share:.0%} of them at most (promote.max_tenant_share)"
        missing.append(f"{observed.waiting} more wait for other tenants': {most}")
    return missing, numbers | ({"waiting": observed.waiting} if observed.waiting else {})


def _missing_proof(stage: Stage, rules: Promote, observed: Observations) -> tuple[list[str], Numbers]:
    """The shadow compares pairs of answers; a canary stage needs evidence from ratings."""
    if stage.weight == 0:
        return _missing_pairs(stage, _pairs_found(rules, observed))
    proof = not_worse_test(stage, rules, observed)
    missing = [] if proof.reached else [proof.words]
    log, bar, difference = round(proof.log_evidence, 3), round(proof.bar, 3), _rise(observed.ratings)
    if difference <= -stage.margin:
        missing.append(f"{difference:+.1%} against production, where more than {-stage.margin:+.0%} is asked")
    return missing, Numbers(log_evidence_not_worse=log, bar_promote=bar, difference=round(difference, 4))


def _missing_pairs(stage: Stage, found: PairsFound) -> tuple[list[str], Numbers]:
    """Even at best the candidate may not lie below production by the stage's margin."""
    if found.most > -stage.margin:
        return [], found.numbers()
    best = f"{found.most:+.1%} against production at best"
    return [f"{best}, where more than {-stage.margin:+.0%} is asked"], found.numbers()


def _pairs_found(rules: Promote, observed: Observations) -> PairsFound:
    return pairs_found(observed.pairs, observed.unrated, rules.rating_odds)


def _missing_quiet(stage: Stage, rules: Promote, observed: Observations) -> tuple[list[str], Numbers]:
    """Each guard must have answers of both sides, and no larger rise than is allowed."""
    missing, numbers = [], {}
    for guard, flags in guard_flags(stage, rules, observed).items():
        rise, allowed = _rise(flags), allowed_rise(guard, rules)
        numbers[f"rise_{guard}"] = round(rise, 4)
        if rise > allowed:
            missing.append(f"{guard}: {rise:+.1%} against production, {allowed:.0%} is allowed")
        if not {True, False} <= {side for side, _ in flags}:
            missing.append(f"{guard}: nothing to compare yet")
    return missing, numbers


def _missing_copies(stage: Stage, rules: Promote, copies: Copies) -> tuple[list[str], Numbers]:
    """The shadow must have answered enough of what it was offered."""
    if stage.weight or not copies.offered:
        return [], {}
    numbers = Numbers({f"copies_{fate}": count for fate, count in asdict(copies).items()})
    if copies.dropped_share <= rules.max_dropped_share:
        return [], numbers
    share = f"{copies.dropped} of {copies.offered} copies for the shadow were dropped"
    return [f"{share}, {rules.max_dropped_share:.0%} may be (promote.max_dropped_share)"], numbers


def _rise(flags: Sequence[tuple[bool, bool]]) -> float:
    """The candidate's share minus production's, over (is the candidate's, outcome)."""
    return _mean([yes for side, yes in flags if side]) - _mean([yes for side, yes in flags if not side])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
