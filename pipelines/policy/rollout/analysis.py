"""The judge of a rollout: from what users did, continue, promote or abort. Pure; valid at any look.

Every test is an e-process (`policy.sequential`) over answers in order of arrival. One that has once reached
its bar stays there, so looking often costs nothing. Over a whole rollout, whatever the number of looks:

- a candidate that is worse than production by the last stage's margin gets to production with a probability
  of at most `alpha_promote`;
- one that is no worse in any respect is aborted as worse with a probability of at most `alpha_abort`, which
  the tests share equally.

Missing data never promotes: a stage that ends without an answer ends the rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from pipelines.core.config import Promote, Stage
from pipelines.policy.stats.sequential import in_blocks, log_evidence, log_evidence_of_losing

MOST_PER_BLOCK = 3  # of production's answers: more would add little
REFERENCE_ANSWERS = 50  # of production's, whose p95 says from then on what is slow
P95 = 95


class Answer(StrEnum):
    CONTINUE = "continue"
    PROMOTE = "promote"
    ABORT = "abort"


@dataclass(frozen=True)
class Served:
    """One answer or failed attempt. `latency_ms` None: it says nothing about the adapter's speed."""

    candidate: bool
    error: bool
    refused: bool
    latency_ms: float | None


@dataclass(frozen=True)
class Seen:
    """What the judge looks at, each sequence in order of arrival and only ever longer at the next look."""

    seconds: float  # since the stage began
    served: Sequence[Served] = ()
    rated: Sequence[tuple[bool, bool]] = ()  # (is the candidate's, liked)
    pairs: Sequence[tuple[bool, bool]] = ()  # in the shadow: (candidate right, production right)


@dataclass(frozen=True)
class Judgement:
    answer: Answer
    reasons: tuple[str, ...]
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Test:
    """How far one test has ever come (log), and what it has to reach."""

    log_evidence: float
    bar: float
    words: str

    @property
    def reached(self) -> bool:
        return self.log_evidence >= self.bar


def judge(stage: Stage, rules: Promote, seen: Seen) -> Judgement:
    """The answer at this look."""
    alarms = alarms_of(stage, rules, seen)
    lacking, evidence = _lacking(stage, rules, seen)
    evidence |= {f"log_evidence_{name}": round(test.log_evidence, 3) for name, test in alarms.items()} | {
        "bar_abort": round(abort_bar(rules), 3)
    }
    if worse := tuple(test.words for test in alarms.values() if test.reached):
        return Judgement(Answer.ABORT, worse, evidence)
    if not lacking:
        words = (
            f"{stage.name}: {evidence['answers']} answers, {evidence['rated']} rated; every guard is quiet"
        )
        return Judgement(Answer.PROMOTE, (words,), evidence)
    if seen.seconds >= stage.max_s:
        return Judgement(Answer.ABORT, (f"Not enough evidence after {stage.max_s} s.", *lacking), evidence)
    return Judgement(Answer.CONTINUE, lacking, evidence)


def block_size(stage: Stage, rules: Promote) -> int:
    """How many of production's answers stand beside one of the candidate's; equal in all canary stages."""
    weight = rules.stages[-1].weight if stage.weight else 0.5  # a shadow answers what production answers
    return max(1, min(MOST_PER_BLOCK, int((1 - weight) / weight)))


def abort_bar(rules: Promote) -> float:
    """What a test must reach (log) to abort: `alpha_abort`, shared by all tests of a rollout.

    The canary stages share their tests, which go on from stage to stage.
    """
    canary = {guard for stage in rules.stages[1:] for guard in stage.guards}
    tests = len(rules.stages[0].guards) + len(canary) + 2  # and pairs in the shadow, feedback in the canary
    return float(np.log(tests / rules.alpha_abort))


def alarms_of(stage: Stage, rules: Promote, seen: Seen) -> dict[str, Test]:
    """The tests that may abort in a stage."""
    bar, size = abort_bar(rules), block_size(stage, rules)
    found = {}
    if stage.weight == 0:
        won = np.array([right > other for right, other in seen.pairs], float)
        lost = np.array([right < other for right, other in seen.pairs], float)
        words = "On questions with a known answer the candidate is right less often than production."
        found["pairs"] = Test(_most(log_evidence_of_losing(won, lost)), bar, words)
    else:
        disliked = in_blocks(((side, not liked) for side, liked in seen.rated), size)
        log = log_evidence(*disliked, size, 0.0, rules.stages[-1].margin)
        found["feedback"] = Test(
            _most(log), bar, "Users like the candidate's answers less than production's."
        )
    for guard, flags in _flags(stage, rules, seen).items():
        log = log_evidence(*in_blocks(flags, size), size, _rise(guard, rules))
        words = (
            f"{guard}: the candidate has more than production, by over {_rise(guard, rules):.0%} of answers."
        )
        found[guard] = Test(_most(log), bar, words)
    return found


def proof_of(stage: Stage, rules: Promote, seen: Seen) -> Test:
    """Evidence against "the candidate is worse than production by the stage's margin or more"."""
    size = block_size(stage, rules)
    log = log_evidence(*in_blocks(seen.rated, size), size, -stage.margin, expected=0.0)
    words = f"not yet shown to be less than {stage.margin:.0%} below production in liked answers"
    return Test(_most(log), float(np.log(1 / rules.alpha_promote)), words)


def _lacking(stage: Stage, rules: Promote, seen: Seen) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What still stands between the candidate and the next stage, in words; and the numbers."""
    answers = sum(served.candidate for served in seen.served)
    rated = [liked for candidate, liked in seen.rated if candidate]
    numbers: dict[str, Any] = {"seconds": round(seen.seconds), "answers": answers, "rated": len(rated)}
    lacking = [
        f"{have:.0f} of {need} {what}"
        for have, need, what in (
            (seen.seconds, stage.bake_s, "seconds of bake time"),
            (answers, stage.min_answers, "answers of the candidate"),
            (len(rated), stage.min_rated, "rated answers of the candidate"),
        )
        if have < need
    ]
    if stage.weight == 0:
        numbers["pairs"] = len(seen.pairs)
        difference = _mean([float(right) - float(other) for right, other in seen.pairs])
    else:
        proof = proof_of(stage, rules, seen)
        numbers |= {
            "log_evidence_not_worse": round(proof.log_evidence, 3),
            "bar_promote": round(proof.bar, 3),
        }
        lacking += [] if proof.reached else [proof.words]
        difference = _mean(rated) - _mean([liked for candidate, liked in seen.rated if not candidate])
    numbers["difference"] = round(difference, 4)
    if difference <= -stage.margin:
        lacking.append(f"{difference:+.1%} against production, where more than {-stage.margin:+.0%} is asked")
    for guard, flags in _flags(stage, rules, seen).items():
        rise = _mean([bad for side, bad in flags if side]) - _mean([bad for side, bad in flags if not side])
        numbers[f"rise_{guard}"] = round(rise, 4)
        if rise > _rise(guard, rules):
            lacking.append(f"{guard}: {rise:+.1%} against production, {_rise(guard, rules):.0%} is allowed")
        if not {True, False} <= {side for side, _ in flags}:
            lacking.append(f"{guard}: nothing to compare yet")
    return tuple(lacking), numbers


def _flags(stage: Stage, rules: Promote, seen: Seen) -> dict[str, list[tuple[bool, bool]]]:
    """Guard -> (is the candidate's, is bad) of each answer."""
    flags = {
        "errors": [(served.candidate, served.error) for served in seen.served],
        "refusals": [(served.candidate, served.refused) for served in seen.served if not served.error],
        "latency": _slow(rules, seen),
    }
    return {guard: flags[guard] for guard in stage.guards}


def _slow(rules: Promote, seen: Seen) -> list[tuple[bool, bool]]:
    """Which answers are slow, from when production's first ones have said what slow is."""
    timed = [(served.candidate, served.latency_ms) for served in seen.served if served.latency_ms is not None]
    places = [place for place, (candidate, _) in enumerate(timed) if not candidate][:REFERENCE_ANSWERS]
    if len(places) < REFERENCE_ANSWERS:
        return []
    limit = rules.max_latency_ratio * np.percentile([timed[place][1] for place in places], P95)
    return [(candidate, bool(latency > limit)) for candidate, latency in timed[places[-1] + 1 :]]


def _rise(guard: str, rules: Promote) -> float:
    rises = {
        "errors": rules.max_error_rise,
        "refusals": rules.max_refusal_rise,
        "latency": rules.max_slow_rise,
    }
    return rises[guard]


def _most(log: np.ndarray) -> float:
    """How far a test has ever come; nothing seen proves nothing."""
    return float(log.max(initial=0.0))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
