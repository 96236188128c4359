"""Candidates that wait for fresh rows, beside the rule without waiting, as Markdown tables.

Run it with `python -m benchmarks.waiting`, or with a number of histories: `python -m benchmarks.waiting 50`.
`python -m benchmarks.waiting 200 pool` prints the table about pools alone.
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
SUITE = 240  # items, as the sample's
POOLS = (  # words, items of the pool and rows of users a night, odds by which people label what it wins
    ("one night", 0, 0, 1.0),
    ("pool of 40", 40, 0, 1.0),
    ("pool of 100", 100, 0, 1.0),
    ("pool of 100, 100 rows of users", 100, 100, 1.0),
    ("the same, rows that it wins are labelled twice as often", 100, 100, 2.0),
)
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


def pools(histories: int) -> None:
    """The suite on the first night, then items of a pool that were never asked, beside rows of users."""
    table = []
    for suite, alike in (("anew", False), ("alike", True)):
        for words, pool, rows, odds in POOLS:
            table.append([suite, words, *_of_pool(histories, pool, rows, odds, alike)])
    print(
        f"\nItems of a pool after a suite of {SUITE} items: false passes a year of candidates that are never"
        f" better; promoted within {WITHIN} nights, and the median of the days\n"
    )
    better = (f"+{gain} points, night {first}" for gain in (5, 10) for first in (1, 365))
    print(markdown(("suite", "rule", "false passes", *better), table))


def _of_pool(histories: int, pool: int, rows: int, odds: float, alike: bool) -> list[str]:
    gate = Gate(max_nights_waiting=WITHIN if pool else 0)
    never = World("", steady(0.02), odds=odds, alike=alike)
    false = simulate(never, rows, gate, histories, 365, 1, pool, SUITE).false
    row = [f"{false.mean():.2f} ± {false.std() / np.sqrt(histories):.2f}"]
    for gain in (0.05, 0.10):
        for first in (1, 365):
            world = World("", better_from(first - 1, gain), odds=odds, alike=alike)
            found = simulate(world, rows, gate, histories, first + 2 * WITHIN, first, pool, SUITE)
            days = found.first - first + 2
            row.append(f"{(days <= WITHIN).mean():.0%}, {_median(days)}")
    return row


def _median(days: np.ndarray) -> str:
    middle = float(np.median(days))
    return f"{middle:.0f}" if middle <= 2 * WITHIN else f"over {2 * WITHIN}"


def main(arguments: list[str]) -> None:
    histories = int(arguments[0]) if arguments else 200
    print(describe())
    if "pool" not in arguments:
        years(histories)
        power(histories)
    pools(histories)


if __name__ == "__main__":
    main(sys.argv[1:])
