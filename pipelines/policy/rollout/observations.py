"""What users did during a stage of a rollout: the input of the rollout analysis. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.core.config import Promote, Stage
from pipelines.policy.rollout.pairs import Pair

REFERENCE_ANSWERS = 50  # of production, whose 95th percentile says from then on what is slow
P95 = 95


@dataclass(frozen=True)
class Attempt:
    """One answer or failed attempt. `latency_ms` is None where it says nothing about the adapter."""

    candidate: bool
    error: bool
    refused: bool
    latency_ms: float | None


@dataclass(frozen=True)
class Copies:
    """Copies of users' requests for the shadow. Each is answered, has failed or was dropped, or is under way.

    The gateway drops copies while users wait, so an answered one tells more of quiet hours than of busy ones.
    """

    offered: int = 0
    answered: int = 0
    failed: int = 0
    dropped: int = 0

    @property
    def dropped_share(self) -> float:
        return self.dropped / self.offered if self.offered else 0.0


@dataclass(frozen=True)
class Observations:
    """A stage's traffic. Each sequence is in order of arrival, and a later look only ever adds to its end."""

    seconds: float  # since the stage began
    attempts: Sequence[Attempt] = ()
    ratings: Sequence[tuple[bool, bool]] = ()  # (is the candidate's, liked)
    pairs: Sequence[Pair] = ()  # in the shadow, of those that a user rated
    unrated: Sequence[bool] = ()  # of the other pairs in the shadow: whether both gave the same answer
    waiting: int = 0  # answers and ratings that do not count yet: their tenant has too large a share
    without: Sequence[Observations] = ()  # the same without each large tenant in turn
    copies: Copies = Copies()  # of the shadow's stage


def guard_flags(stage: Stage, rules: Promote, observed: Observations) -> dict[str, list[tuple[bool, bool]]]:
    """For each guard of the stage: (is the candidate's, is bad) of each answer that tells."""
    sides = [one.candidate for one in observed.attempts]
    return {
        guard: [(side, bad) for side, bad in zip(sides, flags, strict=True) if bad is not None]
        for guard, flags in bad_answers(stage, rules, observed.attempts).items()
    }


def bad_answers(stage: Stage, rules: Promote, attempts: Sequence[Attempt]) -> dict[str, list[bool | None]]:
    """For each guard of the stage: whether each answer is bad; None where it does not tell."""
    flags: dict[str, list[bool | None]] = {
        "errors": [one.error for one in attempts],
        "refusals": [None if one.error else one.refused for one in attempts],
        "latency": _slow(rules, attempts),
    }
    return {guard: flags[guard] for guard in stage.guards}


def allowed_rise(guard: str, rules: Promote) -> float:
    """By how much the candidate's share of bad answers may exceed production's."""
    rises = {
        "errors": rules.max_error_rise,
        "refusals": rules.max_refusal_rise,
        "latency": rules.max_slow_rise,
    }
    return rises[guard]


def _slow(rules: Promote, attempts: Sequence[Attempt]) -> list[bool | None]:
    """Which answers are slow, from the point on where production's first answers have fixed the limit."""
    first = [
        (place, one.latency_ms)
        for place, one in enumerate(attempts)
        if one.latency_ms is not None and not one.candidate
    ][:REFERENCE_ANSWERS]
    if len(first) < REFERENCE_ANSWERS:
        return [None] * len(attempts)
    last, limit = first[-1][0], rules.max_latency_ratio * np.percentile([ms for _, ms in first], P95)
    return [
        None if place <= last or one.latency_ms is None else bool(one.latency_ms > limit)
        for place, one in enumerate(attempts)
    ]
