"""Candidates that wait for fresh rows, beside the rule without waiting, as Markdown tables.

Run it with `python -m benchmarks.waiting`, or with a number of histories: `python -m benchmarks.waiting 50`.
"""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.machine import describe
from benchmarks.tables import markdown
from benchmarks.waiting_worlds import (
    World,
    better_from,
    decaying,
    drifting,
    once_a_week,
    same_people,
    simulate,
    slow,
    steady,
)
from pipelines.core.config import Gate

ROWS = (20, 100, 400)
WITHIN = 30  # nights
RULES = {
    "one night": Gate(max_nights_waiting=0, rating_odds=1),
    "waits": Gate(rating_odds=1),
    "waits, odds 2": Gate(rating_odds=2),
}
WORLDS = (
    World("never better than the margin", steady(0.02)),
    World("one of seven is better by 5 points", once_a_week(0.05)),
    World("half a point more each night, up to 10", slow(0.005, 0.1)),
    World("better by 8 points, a point less each night", decaying(0.08, 0.01)),
    World("weeks of +10 and of -6 points", drifting(0.02, 0.08)),
    World("never better; what it wins is labelled twice as often", steady(0.02), odds=2),
    World("assumption broken: never better; each row is there twice", steady(0.02), copies=2),
    World(
        "assumption broken: never better; the same 100 people return, 10 points apart",
        same_people(0.02, 100, 0.1),
        bad=True,
    ),
)


def years(histories: int) -> None:
    """False and right passes of a year."""
    table = []
    for number, world in enumerate(WORLDS):
        for rows in ROWS:
            row = [f"{world.words}; {rows} rows"]
            for gate in RULES.values():
                found = simulate(world, rows, gate, histories, 365, number)
                error = found.false.std() / np.sqrt(histories)
                row += [f"{found.false.mean():.2f} ± {error:.2f}", f"{found.right.mean():.1f}"]
            table.append(row)
    print(
        f"\nPasses a year, of {histories} histories: false ones with their standard error, and right ones\n"
    )
    print(markdown(("world", *(f"{rule}: {kind}" for rule in RULES for kind in ("false", "right"))), table))


def power(histories: int) -> None:
    """From some night on every new candidate is better: how soon is one in production?"""
    table = []
    for gain in (0.05, 0.10):
        for rows in ROWS:
            for first in (1, 30, 365):
                world, row = (
                    World("", better_from(first - 1, gain)),
                    [f"+{100 * gain:g} points, {rows} rows, night {first}"],
                )
                for gate in RULES.values():
                    days = simulate(world, rows, gate, histories, first + 2 * WITHIN, first).first - first + 2
                    row += [f"{(days <= WITHIN).mean():.0%}", _median(days)]
                table.append(row)
    print(f"\nPromoted within {WITHIN} nights of the first better candidate, and the median of the days\n")
    print(
        markdown(("candidates", *(f"{rule}: {kind}" for rule in RULES for kind in ("within", "days"))), table)
    )


def _median(days: np.ndarray) -> str:
    middle = float(np.median(days))
    return f"{middle:.0f}" if middle <= 2 * WITHIN else f"over {2 * WITHIN}"


def main(arguments: list[str]) -> None:
    histories = int(arguments[0]) if arguments else 200
    print(describe())
    years(histories)
    power(histories)


if __name__ == "__main__":
    main(sys.argv[1:])
