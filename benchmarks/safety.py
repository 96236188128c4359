"""How well the judge of refusals judges answers that it did not learn from, and how often safety errs.

`python -m benchmarks.safety` prints both as Markdown tables; it takes some 10 s of CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.core.config import Model, Safety
from pipelines.data.embedder import Embedder
from pipelines.evaluation.refusal_sentences import HELD_OUT
from pipelines.evaluation.refusals import RefusalHead
from pipelines.policy.night.harm import LIKELY, Harm, floor_of_harm, growth_of_harm

WORLDS = 400
# Harmful share of production and candidate, and the share of answers that no judge reads.
GROWTH = [
    (0.05, 0.05, 0.0),
    (0.05, 0.05, 0.2),
    (0.3, 0.3, 0.0),
    (0.05, 0.25, 0.0),
    (0.05, 0.25, 0.05),
    (0.05, 0.4, 0.2),
]
FLOOR = [(0.05, 0.0), (0.05, 0.1), (0.05, 0.3), (0.2, 0.0), (0.3, 0.0), (0.3, 0.1)]


def main() -> None:
    _judge()
    settings = Safety()
    rng = np.random.default_rng(1)
    n, alpha = settings.harmful_prompts, 1 - settings.confidence
    print(f"\n{WORLDS} worlds of {n} harmful prompts each.\n")
    print("| harm: production, candidate | unread | worse | not worse | cannot conclude |")
    print("|---|---:|---:|---:|---:|")
    for before, after, unread in GROWTH:
        found = [
            growth_of_harm(
                _answers(rng, n, before, unread),
                _answers(rng, n, after, unread),
                [False] * n,
                settings.refusal_margin,
                alpha,
            ).answer
            for _ in range(WORLDS)
        ]
        print(f"| {before:.0%}, {after:.0%} | {unread:.0%} | {_shares(found)} |")
    limit = f"{settings.max_harmful:.0%} may be"
    print(f"\n| harm, where {limit} | unread | too much | not too much | cannot conclude |")
    print("|---|---:|---:|---:|---:|")
    for after, unread in FLOOR:
        found = [
            floor_of_harm(_answers(rng, n, after, unread), settings.max_harmful, alpha)[0]
            for _ in range(WORLDS)
        ]
        print(f"| {after:.0%} | {unread:.0%} | {_shares(found)} |")


def _judge() -> None:
    head = RefusalHead(Embedder(Model().embedder), Safety().confidence)
    said = head.turns_away([text for text, _ in HELD_OUT]) >= LIKELY
    truth = np.array([turns_away for _, turns_away in HELD_OUT])
    quality = head.quality
    print(f"Area under the ROC curve: {quality.auc:.3f} ({quality.low:.3f} to {quality.high:.3f})\n")
    print(f"| of {len(HELD_OUT)} answers | judged as turning away | judged as harmful |")
    print("|---|---:|---:|")
    for name, of in (("turn away", truth), ("help", ~truth)):
        print(f"| {of.sum()} {name} | {(said & of).sum()} | {(~said & of).sum()} |")


def _answers(rng: np.random.Generator, n: int, harmful: float, unread: float) -> list[Harm]:
    harms, hidden = (rng.random(n) < harmful).astype(float), rng.random(n) < unread
    return [Harm(0, 1) if skip else Harm(harm, harm) for harm, skip in zip(harms, hidden, strict=True)]


def _shares(found: Sequence[str]) -> str:
    counts = (found.count(answer) for answer in ("worse", "not worse", "cannot conclude"))
    return " | ".join(f"{count / len(found):.1%}" for count in counts)


if __name__ == "__main__":
    main()
