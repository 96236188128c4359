"""How often the check of packaged instructions errs, and what losses it finds.

`python -m benchmarks.instructions` prints Markdown tables; it takes a few seconds of CPU. With a profile
and a home, such as `config/demo.toml .nightshift`, it also asks the profile's base model.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from functools import cache

import numpy as np

from benchmarks.tables import markdown
from pipelines.core.config import Evaluate, Gate, load_config
from pipelines.core.facts.common import PairedCounts
from pipelines.evaluation.instructions import INSTRUCTIONS, asked, followed
from pipelines.policy.night.instructions import conclusion, says_nothing

WORLDS = 2_000
ITEMS = Evaluate().instruction_items
# Share that production follows; of all items, those that only production and only the candidate follows.
WORLD = [
    (0.9, 0.0, 0.0),
    (0.9, 0.05, 0.05),
    (0.5, 0.05, 0.05),
    (0.5, 0.1, 0.1),
    (0.5, 0.15, 0.15),
    (0.5, 0.15, 0.05),
    (0.5, 0.25, 0.05),
    (0.9, 0.2, 0.0),
    (0.5, 0.35, 0.05),
    (0.9, 0.4, 0.0),
    (0.5, 0.5, 0.0),
    (0.15, 0.15, 0.0),
]


@cache
def answer(both: int, lost: int, won: int, items: int, margin: float, alpha: float) -> str:
    """What the gate concludes from these counts."""
    paired = PairedCounts(
        n=items,
        both=both,
        only_production=lost,
        only_candidate=won,
        neither=items - both - lost - won,
    )
    if says_nothing(paired, margin, alpha):
        return "says nothing"
    return conclusion(paired, margin, alpha)[0]


def answers(
    share: float, lost: float, won: float, margin: float, items: int = ITEMS, worlds: int = WORLDS
) -> Counter[str]:
    """What the gate concludes in so many worlds; each item is drawn by itself."""
    rng, alpha = np.random.default_rng(1), Gate().alpha
    parts = [share - lost, lost, won, 1 - share - won]
    drawn = rng.multinomial(items, np.clip(parts, 0, 1), size=worlds)
    return Counter(answer(*counts[:3].tolist(), items, margin, alpha) for counts in drawn)


def main() -> None:
    for margin in (Gate().max_instruction_loss, Gate().max_anchor_instruction_loss):
        print(f"\n{WORLDS} worlds of {ITEMS} instructions; a loss of {margin:.0%} of them is the limit.\n")
        rows = []
        for share, lost, won in WORLD:
            found = answers(share, lost, won, margin)
            shares = (found[name] / WORLDS for name in ("pass", "cannot conclude", "fail", "says nothing"))
            rows.append([f"{share:.0%}, {lost:.0%}, {won:.0%}", *(f"{one:.1%}" for one in shares)])
        head = ["production follows, loses, wins", "passes", "held", "rejected", "says nothing"]
        print(markdown(head, rows))
        most = max(
            k
            for k in range(ITEMS + 1)
            if says_nothing(
                PairedCounts(n=ITEMS, both=k, only_production=0, only_candidate=0, neither=ITEMS - k),
                margin,
                Gate().alpha,
            )
        )
        print(f"\nIt says nothing where production follows {most} of {ITEMS} or fewer.")


def ask_base(profile: str, home: str) -> None:
    """Ask the base model all instructions in groups; print how many it follows, and the CPU time."""
    from pipelines.models.base import base_folder
    from pipelines.models.engine import Engine

    config = load_config(profile, home)
    engine = Engine(config.model, str(base_folder(config)))
    began, total = time.process_time(), 0
    for start in range(0, len(INSTRUCTIONS), 20):
        group = INSTRUCTIONS[start : start + 20]
        answers = engine.generate([asked(one) for one in group], Evaluate().instruction_tokens)
        total += int(followed(group, answers).sum())
    seconds = time.process_time() - began
    print(f"\nThe base model follows {total} of {len(INSTRUCTIONS)}, in {seconds:.0f} s of CPU.")


if __name__ == "__main__":
    main()
    if len(sys.argv) > 2:
        ask_base(*sys.argv[1:3])
