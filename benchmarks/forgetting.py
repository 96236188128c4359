"""Simulates the gate's check of forgetting where few people tell the right answer.

Run it with `python -m benchmarks.forgetting`. It prints a Markdown table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.machine import describe
from pipelines.core.config import Gate
from pipelines.core.facts.common import Interval, PairedCounts
from pipelines.core.facts.evaluate import Disliked, Forgetting
from pipelines.policy.night.forgetting import beyond_chance, loss_of

RIGHT, TIES = 0.6, 0.2  # shares of production's right answers, and of two wrong ones that differ
CANDIDATES = {
    "better by 10 points": (0.15, 0.05),
    "equal": (0.1, 0.1),
    "forgets 10 points": (0.05, 0.15),
    "forgets 15 points": (0.03, 0.18),
    "forgets 20 points": (0.05, 0.25),
}
SHARES = (1.0, 0.3, 0.1, 0.02)


@dataclass(frozen=True)
class Nights:
    """Shares of earlier answers that the candidate gains and loses, and of dislikes that were corrected.

    `changed`: the share of dislikes whose wrong answer production gives no more: people rated another model.
    `by_truth`: people correct only where the candidate is wrong, too. `liked_more`: right answers are rated
    so many times as often as wrong ones.
    """

    gains: float
    losses: float
    corrected: float = 1.0
    changed: float = 0.0
    by_truth: bool = False
    liked_more: float = 1.0


def drawn(world: Nights, items: int, rng: np.random.Generator) -> Forgetting:
    """One night's facts: `items` rated answers, drawn from all of them."""
    kinds = np.array([world.gains, world.losses, TIES, RIGHT - world.losses, 0.0])
    kinds[4] = 1 - kinds.sum()
    weights = kinds * np.array([1, world.liked_more, 1, world.liked_more, 1])
    gains, losses, ties, both, neither = rng.multinomial(items, weights / weights.sum())
    of_gains = rng.binomial(gains, 0.0 if world.by_truth else world.corrected)
    of_ties, of_neither = (rng.binomial(count, world.corrected) for count in (ties, neither))
    known = losses + both + of_gains + of_ties + of_neither
    open_ = (gains - of_gains) + (ties - of_ties)
    changed = rng.binomial(open_, world.changed)
    return Forgetting(
        n=int(known),
        production=0.0,
        candidate=0.0,
        difference=Interval(value=0.0, low=0.0, high=0.0),
        paired=PairedCounts(n=int(known), only_production=int(losses), only_candidate=int(of_gains)),
        disliked=Disliked(same=int(neither - of_neither), not_lost=int(open_ - changed), open=int(changed)),
    )


def rejected(
    world: Nights, items: int, nights: int, settings: Gate, rng: np.random.Generator
) -> dict[str, float]:
    """Shares of nights that pass, fail, are held, and go on in doubt for missing labels."""
    counts = dict.fromkeys(("pass", "fail", "holds", "doubt"), 0)
    for _ in range(nights):
        loss = loss_of(
            drawn(world, items, rng), -settings.max_forgetting, settings.alpha, settings.rating_odds
        )
        doubt = "doubt" if loss.for_labels else "holds"
        counts[doubt if loss.answer == "cannot conclude" else loss.answer] += 1
    return {name: count / nights for name, count in counts.items()}


def failed_before(world: Nights, items: int, nights: int, settings: Gate, rng: np.random.Generator) -> float:
    """The share of nights that the rule of before rejects: without the answers that nobody corrected."""
    parts = [drawn(world, items, rng).paired for _ in range(nights)]
    failed = [
        part.only_candidate - part.only_production <= -settings.max_forgetting * part.n
        and beyond_chance(part.only_candidate, part.only_production, 1.0, settings.alpha)
        for part in parts
    ]
    return float(np.mean(failed))


def worlds() -> dict[str, Nights]:
    rows = {
        f"{words}, {share:.0%} of dislikes corrected": Nights(*candidate, share)
        for words, candidate in CANDIDATES.items()
        for share in SHARES
    }
    for words in ("better by 10 points", "equal"):
        both = CANDIDATES[words]
        rows[f"{words}, 10%, another model was rated"] = Nights(*both, 0.1, changed=0.8)
        rows[f"{words}, 10%, corrected where both are wrong"] = Nights(*both, 0.1, by_truth=True)
        for odds in (2, 4):
            rows[f"{words}, 100%, right answers rated {odds} times as often"] = Nights(*both, liked_more=odds)
    return rows


def main() -> None:
    settings, nights, items = Gate(), 200, 300
    print(f"{describe()}\n\n{nights} nights a row, {items} rated answers of earlier nights.\n")
    print("| candidate | before: fail | fail | held | goes on in doubt | pass |")
    print("|---|---|---|---|---|---|")
    for words, world in worlds().items():
        print(row(words, world, items, nights, settings), flush=True)


def row(words: str, world: Nights, items: int, nights: int, settings: Gate) -> str:
    seed = list(words.encode())
    before = failed_before(world, items, nights, settings, np.random.default_rng(seed))
    found = rejected(world, items, nights, settings, np.random.default_rng(seed))
    shares = (before, *(found[name] for name in ("fail", "holds", "doubt", "pass")))
    return f"| {words} | " + " | ".join(f"{share:.1%}" for share in shares) + " |"


if __name__ == "__main__":
    main()
