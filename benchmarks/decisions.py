"""What the decisions promise, and what they keep: error rates, power and speed, as Markdown tables.

Run it with `python -m benchmarks.decisions`, or with the names of sections: `... decisions gate`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.gate_worlds import FAMILYWISE, ITEMS, YEARLY, World, chances, false_passes, levels
from benchmarks.machine import describe
from benchmarks.tables import markdown
from pipelines.policy.night.fairness import compare_groups
from pipelines.policy.night.level import promise
from pipelines.policy.stats import paired

NIGHTS = (1, 7, 30, 365)
HISTORIES = 1_000
RULES = {"yearly": YEARLY, "familywise": FAMILYWISE}
WORLDS = (
    World("new answers every night"),
    World("half of the answers never change", same=0.5),
    World("the same candidate every night", same=1.0),
    World("each follows the last verdict", follows=True),
    World("assumption broken: each question stands there twice", copies=2),
)


def gate_power() -> None:
    """One night's chance to pass, added up over all outcomes."""
    margin = YEARLY.min_improvement
    rows = []
    for words, gate, every in (
        ("yearly, asked every night", YEARLY, 1),
        ("yearly, asked once a week", YEARLY, 7),
        ("familywise, asked every night", FAMILYWISE, 1),
    ):
        asked = levels(gate, 365, every)[[night - 1 for night in NIGHTS]]
        for gain in (0.10, margin):
            found = chances(ITEMS, 0.2, gain, asked, margin)
            shown = [f"{one:.1%}" if gain > margin else f"{one:.3%}" for one in found]
            rows.append((f"{words}: better by {100 * gain:g} points", *shown))
    print(f"\n{ITEMS} items, 20% answered otherwise, margin {100 * margin:g} points: chance to pass\n")
    print(markdown(("rule and candidate", *(f"question {night}" for night in NIGHTS)), rows))


def gate_fresh() -> None:
    """The same for suites that are as large as a night's new rows."""
    margin, rows = YEARLY.min_improvement, []
    steady = np.array(
        [levels(gate, *asked)[-1] for gate, *asked in ((YEARLY, 60), (YEARLY, 60, 7), (FAMILYWISE, 30))]
    )
    for items in (20, 100, 400):
        for gain in (0.05, 0.10):
            found = chances(items, 0.2, gain, steady, margin)
            rows.append((f"{items} items, better by {100 * gain:g} points", *(f"{one:.1%}" for one in found)))
    print("\nChance to pass in the long run, 20% answered otherwise\n")
    print(
        markdown(("items and candidate", "yearly, nightly", "yearly, weekly", "familywise, night 30"), rows)
    )


def gate_years() -> None:
    """False passes of whole years."""
    rows = []
    for number, world in enumerate(WORLDS):
        row = [world.words]
        for gate in RULES.values():
            passed = false_passes(world, gate, HISTORIES, 365, number)
            error = passed.std() / np.sqrt(len(passed))
            row += [f"{passed.mean():.3f} ± {error:.3f}", f"{(passed > 0).mean():.1%}"]
        rows.append(row)
    for gate in RULES.values():
        print(f"\n{promise(gate)}", end="")
    print(f"\n\n{HISTORIES} histories of 365 nights; every candidate is better by the margin only\n")
    head = ("candidates", "yearly: passes a year", "years with any", "familywise: passes a year", "with any")
    print(markdown(head, rows))


def error_rates() -> None:
    """How much of its alpha a limit uses at most, over a grid of distributions of -1, 0 and 1."""
    rows = []
    for items in (10, 30, 240):
        for margin in (0.0, 0.02, -0.05):
            alphas = np.array([0.05, 0.00125, 1e-6])
            worst = np.zeros(3)
            for discordant in np.geomspace(max(abs(margin), 0.004), 1, 12):
                worst = np.maximum(worst, chances(items, discordant, margin, alphas, margin))
            rows.append((f"{items} items, margin {margin:+.2f}", *(f"{one:.2f}" for one in worst / alphas)))
    print(
        "\nError rate of the lower limit as a share of its alpha: the largest over 0.4% to 100% discordant\n"
    )
    print(markdown(("items and margin", "alpha 0.05", "0.00125", "0.000001"), rows))


def speed() -> None:
    rng = np.random.default_rng(0)
    harms = {str(i): tuple(rng.integers(0, 2, (2, 30 + i)).tolist()) for i in range(42)}
    scores = rng.uniform(-1, 1, 1_000_000).tolist()

    def counted(alpha: float, *counts: int) -> Callable[[], object]:
        return lambda: paired.mean_limits((1.0, -1.0, 0.0), alpha, alpha, counts=counts)

    cases: dict[str, Callable[[], object]] = {
        "240 items, alpha 0.00125": counted(0.00125, 38, 14, 188),
        "240 items, alpha 1e-9": counted(1e-9, 38, 14, 188),
        "a million items, alpha 1e-6": counted(1e-6, 90_000, 60_000, 850_000),
        "10,000 different values": lambda: paired.mean_limits(scores[:10_000], 0.00125, 0.00125),
        "a million different values": lambda: paired.mean_limits(scores, 0.00125, 0.00125),
        "42 groups of 30 to 71 items": lambda: compare_groups(harms, 0.1, 0.95),
    }
    print("\nSpeed: CPU time of both limits, the fastest of five\n")
    print(
        markdown(("decision", "ms"), [(words, f"{1000 * _fastest(run):.1f}") for words, run in cases.items()])
    )


def _fastest(run: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        paired._quantile.cache_clear()
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


SECTIONS: dict[str, tuple[Callable[[], None], ...]] = {
    "limits": (error_rates, speed),
    "gate": (gate_power, gate_fresh, gate_years),
}


def main(names: list[str]) -> None:
    print(describe())
    for name in names or SECTIONS:
        for section in SECTIONS[name]:
            section()


if __name__ == "__main__":
    main(sys.argv[1:])
