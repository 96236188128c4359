"""Simulates shadows whose users seldom tell what is right: how often the analysis errs, and what it can tell.

Run it with `python -m benchmarks.missing_labels`. It prints Markdown tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from pipelines.core.config import Promote
from pipelines.policy.rollout.evidence import abort_bar, least_win_share
from pipelines.policy.rollout.pairs import largest_mean
from pipelines.policy.stats.sequential import log_evidence_of_losing

Flags = NDArray[np.bool_]

PAIRS, LOOK_EVERY = 400, 10
WON, LOST, TIED, BOTH, NEITHER = range(5)  # tied: two wrong answers that differ; neither: the same wrong one
RIGHT = 0.6  # share of production's right answers
CANDIDATES = {  # shares of pairs: won, lost, tied
    "better by 10 points": (0.15, 0.05, 0.2),
    "better by 10 points, but another": (0.28, 0.18, 0.1),  # right or wrong whatever production is
    "equal": (0.1, 0.1, 0.2),
    "equal, but another": (0.24, 0.24, 0.1),
    "worse by 10 points": (0.05, 0.15, 0.2),
    "worse by 20 points": (0.05, 0.25, 0.2),
}
SHARES = (1.0, 0.3, 0.1, 0.02)
CORRECTED_BY = ("random", "topic", "tenant", "truth")
SELECTION = 9  # people correct so many times as often in one part of the traffic as in the other
PARTS = {"topic": (0.5, 0.6, 1.4), "tenant": (0.2, 0.4, 1.15)}  # its share; factors of wins there, elsewhere


@dataclass(frozen=True)
class World:
    """Shares of pairs that the candidate wins, loses and ties, and of dislikes that are corrected.

    `by`: what a correction depends on. By topic and by tenant, people correct more where the candidate wins
    less; by truth, where neither answer is right. `rated`: shares of lost, and of other pairs.
    """

    won: float
    lost: float
    tied: float
    corrected: float = 1.0
    by: str = "random"
    rated: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Pairs:
    """Arrays (shadows, pairs)."""

    kind: NDArray[np.int_]
    corrected: Flags
    rated: Flags

    def tell(self) -> tuple[Flags, Flags, Flags]:
        """Rated pairs that are lost, surely won, and perhaps won: disliked without correction."""
        wrong = np.isin(self.kind, (WON, TIED)) & self.rated
        return (
            self.rated & (self.kind == LOST),
            wrong & self.corrected & (self.kind == WON),
            wrong & ~self.corrected,
        )

    def differ(self, rated: bool) -> Flags:
        return np.isin(self.kind, (WON, LOST, TIED)) & (self.rated == rated)


@dataclass(frozen=True)
class Ended:
    """Whether each shadow is aborted as worse, goes on, or goes on in doubt: at worst it is below the limit.

    Else its time is up: even at best it stayed below.
    """

    worse: Flags
    on: Flags
    doubt: Flags


def draw(world: World, shadows: int, rng: np.random.Generator) -> Pairs:
    shape = shadows, PAIRS
    share, less, more = PARTS.get(world.by, (0.0, 1.0, 1.0))
    often = rng.random(shape) < share
    won = world.won * np.where(often, less, more)
    drawn, limits = rng.random(shape), won
    kind = np.full(shape, NEITHER)
    for other, size in ((LOST, world.lost), (TIED, world.tied), (BOTH, RIGHT - world.lost)):
        kind[(drawn >= limits) & (drawn < limits + size)] = other
        limits = limits + size
    kind[drawn < won] = WON
    wrong = np.isin(kind, (WON, TIED, NEITHER))
    if world.by == "truth":
        often = kind != WON
    part = often[wrong].mean()
    high = min(1.0, world.corrected * SELECTION / (part * SELECTION + 1 - part))
    low = (world.corrected - part * high) / (1 - part) if part < 1 else 0.0
    corrected = wrong & (rng.random(shape) < np.where(often, high, low))
    rated = rng.random(shape) < np.where(kind == LOST, *world.rated)
    return Pairs(kind, corrected, rated)


def judged(pairs: Pairs, rules: Promote) -> Ended:
    """What `analyse` decides at each look (a test holds that the two agree)."""
    lost, sure, perhaps = pairs.tell()
    alarm = _alarm(sure | perhaps, lost, rules, least_win_share(rules.rating_odds))
    below, best, worst = (np.cumsum(of, 1) for of in (lost, sure | perhaps, sure))
    rated, unrated = (np.cumsum(pairs.differ(of), 1) for of in (True, False))
    margin, numbers = rules.stages[0].margin, np.arange(1, lost.shape[1] + 1)
    most = best - below + unrated * largest_mean(best, rated - best - below, below, rules.rating_odds)
    least = worst - below - unrated * largest_mean(below, rated - worst - below, worst, rules.rating_odds)
    return _ended(alarm, most / numbers > -margin, least / numbers > -margin, rules)


def judged_by_labels(pairs: Pairs, rules: Promote) -> Ended:
    """The rule of before: pairs without a known answer do not count."""
    lost, won, _ = pairs.tell()
    known = pairs.rated & (np.isin(pairs.kind, (LOST, BOTH)) | pairs.corrected)
    mean = (np.cumsum(won, 1) - np.cumsum(lost, 1)) / np.maximum(np.cumsum(known, 1), 1)
    ready = mean > -rules.stages[0].margin
    return _ended(_alarm(won, lost, rules, 0.5), ready, ready, rules)


def _alarm(won: Flags, lost: Flags, rules: Promote, share: float) -> Flags:
    log = log_evidence_of_losing(won.astype(float), lost.astype(float), share)
    return np.maximum.accumulate(log >= abort_bar(rules), axis=1)


def _ended(alarm: Flags, ready: Flags, sure: Flags, rules: Promote) -> Ended:
    """At the first look that decides."""
    numbers = np.arange(1, alarm.shape[1] + 1)
    ready = ready & (numbers >= rules.stages[0].min_answers)
    decides = (alarm | ready) & (numbers % LOOK_EVERY == 0)
    rows, first = np.arange(len(alarm)), decides.argmax(1)
    worse = alarm[rows, first] & decides.any(1)
    on = ready[rows, first] & decides.any(1) & ~worse
    return Ended(worse, on & sure[rows, first], on & ~sure[rows, first])


def shares(found: Ended) -> tuple[float, float, float]:
    return float(found.worse.mean()), float(found.on.mean()), float(found.doubt.mean())


def table(worlds: Mapping[str, Sequence[World]], rules: Promote, shadows: int) -> None:
    """For each row the range over its worlds."""
    print("| candidate | before: worse | worse | goes on | goes on in doubt |")
    print("|---|---|---|---|---|")
    for words, row in worlds.items():
        rng = np.random.default_rng(list(words.encode()))
        drawn = [draw(world, shadows, rng) for world in row]
        before = [shares(judged_by_labels(pairs, rules))[0] for pairs in drawn]
        now = zip(*(shares(judged(pairs, rules)) for pairs in drawn), strict=True)
        print("|", " | ".join([words, _range(before), *map(_range, now)]), "|", flush=True)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.1%}", f"{max(values):.1%}"
    return low if low == high else f"{low} to {high}"


def main() -> None:
    rules, shadows = Promote(), 1_000
    print(f"{describe()}\n\n{shadows} shadows a world of {PAIRS} pairs, a look every {LOOK_EVERY} pairs.\n")
    print(f"Each row: corrections by {', '.join(CORRECTED_BY)}.\n")
    rows = {
        f"{words}, {share:.0%} of dislikes corrected": [World(*candidate, share, by) for by in CORRECTED_BY]
        for words, candidate in CANDIDATES.items()
        for share in SHARES
    }
    table(rows, rules, shadows)
    print("\nAll dislikes corrected, but lost pairs are rated more often:\n")
    rated = {
        f"{words}, lost pairs rated {odds:g} times as often": [
            World(*CANDIDATES[words], rated=(0.6, 0.6 / odds))
        ]
        for words in CANDIDATES
        for odds in (1, 2, 4)
    }
    for odds in (1.0, 1.5, 2.0):
        print(f"\n`rating_odds = {odds:g}`:\n")
        table(rated, rules.model_copy(update={"rating_odds": odds}), shadows)


if __name__ == "__main__":
    main()
