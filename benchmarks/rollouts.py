"""Simulates whole rollouts: how often the rollout analysis errs, and how soon it decides.

Run it with `python -m benchmarks.rollouts`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.machine import describe
from pipelines.core.config import Promote
from pipelines.policy.rollout.evidence import abort_bar, block_size, least_win_share
from pipelines.policy.stats.sequential import Floats, log_evidence, log_evidence_of_losing

LOOK_EVERY = 10  # answers of the candidate
CHUNK = 1_000  # rollouts at a time, for the sake of memory
GUARDS = {"errors": "max_error_rise", "refusals": "max_refusal_rise", "latency": "max_slow_rise"}


@dataclass(frozen=True)
class Truth:
    """Shares of answers: liked, failed, refused, slow; the first of each pair is production's."""

    liked: tuple[float, float]
    errors: tuple[float, float] = (0.005, 0.005)
    refusals: tuple[float, float] = (0.02, 0.02)
    latency: tuple[float, float] = (0.01, 0.01)


@dataclass(frozen=True)
class Outcomes:
    """Of each rollout: `promoted`, `worse` (aborted as worse); else there was not enough evidence."""

    promoted: np.ndarray
    worse: np.ndarray
    answers: np.ndarray  # that users got from the candidate before the end


@dataclass(frozen=True)
class Draws:
    """Arrays (rollouts, answers): the candidate's outcomes and production's sums, shadow pairs."""

    won: Floats
    lost: Floats
    shadow: dict[str, tuple[Floats, Floats]]
    liked: tuple[Floats, Floats]
    canary: dict[str, tuple[Floats, Floats]]


def simulate(truth: Truth, rules: Promote, rollouts: int, shadow: int, canary: int, seed: int) -> Outcomes:
    """`rollouts` whole rollouts with a look after every `LOOK_EVERY` answers; every answer is rated.

    `shadow` and `canary`: answers of the candidate until time is up.
    """
    rng = np.random.default_rng(seed)
    sizes = [min(CHUNK, rollouts - start) for start in range(0, rollouts, CHUNK)]
    parts = [decided(draw(truth, rules, size, shadow, canary, rng), rules) for size in sizes]
    return Outcomes(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def draw(
    truth: Truth, rules: Promote, rollouts: int, shadow: int, canary: int, rng: np.random.Generator
) -> Draws:
    def blocks(rates: tuple[float, float], size: int, length: int) -> tuple[Floats, Floats]:
        candidate = rng.random((rollouts, length)) < rates[1]
        return candidate.astype(float), rng.binomial(size, rates[0], (rollouts, length)).astype(float)

    right, other = (rng.random((rollouts, shadow)) < rate for rate in (truth.liked[1], truth.liked[0]))
    small, large = block_size(rules.stages[0], rules), block_size(rules.stages[-1], rules)
    return Draws(
        (right & ~other).astype(float),
        (other & ~right).astype(float),
        {guard: blocks(getattr(truth, guard), small, shadow) for guard in rules.stages[0].guards},
        blocks(truth.liked, large, canary),
        {guard: blocks(getattr(truth, guard), large, canary) for guard in rules.stages[-1].guards},
    )


def decided(draws: Draws, rules: Promote) -> Outcomes:
    """What `analyse` decides at each look, for all rollouts at once (a test holds that the two agree)."""
    first, last = rules.stages[0], rules.stages[-1]
    size = block_size(first, rules)
    share = least_win_share(rules.rating_odds)
    alarm = _ever(log_evidence_of_losing(draws.won, draws.lost, share)) >= abort_bar(rules)
    alarm |= _alarms(draws.shadow, size, rules)
    ready = _mean(draws.won - draws.lost, 1) > -first.margin
    ready &= _quiet(draws.shadow, size, rules) & (_numbers(alarm) >= first.min_answers)
    passed, worse, _ = _end(ready, alarm, np.zeros(len(alarm), int))

    size = block_size(last, rules)
    disliked = (1 - draws.liked[0], size - draws.liked[1])
    alarm = _ever(log_evidence(*disliked, size, 0.0, last.margin)) >= abort_bar(rules)
    alarm |= _alarms(draws.canary, size, rules)
    difference = _mean(draws.liked[0], 1) - _mean(draws.liked[1], size)
    reached, start = passed, np.zeros(len(alarm), int)
    for stage in rules.stages[1:]:
        proof = _ever(log_evidence(*draws.liked, size, -stage.margin, 0.0)) >= np.log(1 / rules.alpha_promote)
        ready = proof & (difference > -stage.margin) & _quiet(draws.canary, size, rules)
        ready &= _numbers(alarm) >= max(stage.min_answers, stage.min_rated)
        passed, aborted, start = _end(ready, alarm, start)
        worse |= reached & aborted
        reached = reached & passed
    return Outcomes(reached, worse, np.where(reached | worse, start, alarm.shape[1]))


def _end(ready: np.ndarray, alarm: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, ...]:
    """(promoted, aborted as worse, answers until then) at the first look after `start` that decides."""
    numbers = _numbers(alarm)
    looks = (numbers % LOOK_EVERY == 0) & (numbers > start[:, None])
    decides = looks & (ready | alarm)
    place = decides.argmax(1)
    rows = np.arange(len(place))
    ends = decides.any(1)
    aborted = ends & alarm[rows, place]
    return ends & ~aborted, aborted, np.where(ends, place + 1, alarm.shape[1])


def _alarms(guards: dict[str, tuple[Floats, Floats]], size: int, rules: Promote) -> np.ndarray:
    logs = [
        _ever(log_evidence(*blocks, size, getattr(rules, GUARDS[name]))) for name, blocks in guards.items()
    ]
    return np.logical_or.reduce([log >= abort_bar(rules) for log in logs])


def _quiet(guards: dict[str, tuple[Floats, Floats]], size: int, rules: Promote) -> np.ndarray:
    rises = {name: _mean(blocks[0], 1) - _mean(blocks[1], size) for name, blocks in guards.items()}
    return np.logical_and.reduce([rise <= getattr(rules, GUARDS[name]) for name, rise in rises.items()])


def _ever(log: Floats) -> Floats:
    return np.maximum.accumulate(np.maximum(log, 0.0), axis=1)


def _mean(values: Floats, size: int) -> Floats:
    return np.cumsum(values, axis=1) / (size * np.arange(1, values.shape[1] + 1))


def _numbers(like: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(1, like.shape[1] + 1), like.shape)


def default_rules() -> Promote:
    """The shipped rules, with fewer answers asked for, so that the tests speak and not the minimum."""
    rules = Promote()
    fewer = ({"min_answers": 40, "min_rated": 30 if stage.weight else 0} for stage in rules.stages)
    stages = [stage.model_copy(update=less) for stage, less in zip(rules.stages, fewer, strict=True)]
    return rules.model_copy(update={"stages": tuple(stages)})


CASES = {
    "worse by the margin, 40% liked": Truth((0.4, 0.3)),
    "worse by the margin, 80% liked": Truth((0.8, 0.7)),
    "worse by the margin, 15% liked": Truth((0.15, 0.05)),
    "equal, 10% liked": Truth((0.1, 0.1)),
    "equal, 40% liked": Truth((0.4, 0.4)),
    "equal, 80% liked": Truth((0.8, 0.8)),
    "better by 5 points": Truth((0.4, 0.45)),
    "better by 10 points": Truth((0.4, 0.5)),
    "better by 25 points": Truth((0.1, 0.35)),
    "worse by 20 points": Truth((0.4, 0.2)),
    "worse by 30 points": Truth((0.4, 0.1)),
    "equal, but 10% of answers fail": replace(Truth((0.4, 0.4)), errors=(0.005, 0.1)),
    "equal, but 30% of answers are slow": replace(Truth((0.4, 0.4)), latency=(0.01, 0.3)),
}


def main() -> None:
    rules, rollouts = default_rules(), 2_000
    print(describe())
    print(
        f"{rollouts} rollouts a row, a look every {LOOK_EVERY} answers, up to 200 in shadow and 800 in canary"
    )
    print(
        f"stated: a worse one (by {rules.stages[-1].margin:.0%}) promoted <= {rules.alpha_promote:.0%}, "
        f"an equal one called worse <= {rules.alpha_abort:.0%}"
    )
    print(
        f"{'the candidate is':<36} {'promoted':>9} {'worse':>8} {'unclear':>8} {'median':>7} {'90%':>5}"
        "  answers"
    )
    began = time.perf_counter()
    for number, (words, truth) in enumerate(CASES.items()):
        found = simulate(truth, rules, rollouts, 200, 800, number)
        unclear = ~(found.promoted | found.worse)
        middle, most = np.percentile(found.answers, (50, 90))
        shares = f"{found.promoted.mean():>9.1%} {found.worse.mean():>8.1%} {unclear.mean():>8.1%}"
        print(f"{words:<36} {shares} {middle:>14.0f} {most:>5.0f}", flush=True)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
