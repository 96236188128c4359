"""How much feedback never reaches production in a year: by rows' states, and by what came since a training.

Each night delivers 60 labelled rows; some nights come one to five nights late. A night with 120 rows that
count trains. Most candidates are rejected, and some that reach production are rolled back. Counted are the
rows of nights up to 30 before the end that neither production nor its parents were trained on.

`python -m benchmarks.learned` prints the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from pipelines.policy.night.row_states import ROLLBACK, Training, row_states, stayed_in_production

FIRST, NIGHTS, ROWS, ENOUGH, SEEDS = date(2026, 1, 1), 365, 60, 120, 5
WORLDS = {  # share of nights that come late, of candidates that are rejected, of promotions rolled back
    "calm": (0.0, 0.3, 0.0),
    "many rejected": (0.0, 0.8, 0.0),
    "late nights": (0.1, 0.5, 0.0),
    "rollbacks": (0.0, 0.5, 0.3),
    "all of it": (0.1, 0.8, 0.3),
}


@dataclass
class Year:
    """The history of one world. An adapter is known by the number of its training."""

    lake: dict[date, str] = field(default_factory=dict)
    trainings: list[Training] = field(default_factory=list)
    moves: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def production(self) -> str | None:
        return self.moves[-1][1] if self.moves else None

    def by_state(self) -> tuple[list[date], bool]:
        """The nights that count, and whether any of them is new."""
        states = row_states(self.lake, self.trainings, stayed_in_production(self.moves))
        return list(states.unlearned), bool(states.pending)

    def since_last(self) -> tuple[list[date], bool]:
        """The rule of older versions: what was delivered after the night of the last training."""
        last = max((one.night for one in self.trainings), default=date.min)
        nights = [night for night in self.lake if night > last]
        return nights, bool(nights)

    def unlearned(self, until: date) -> float:
        """Share of the nights up to `until` that are not in the weights of production."""
        parents, link = {one.adapter: one for one in self.trainings}, self.production
        seen = set[date]()
        while link is not None:
            seen |= set(parents[link].deliveries or {})
            link = parents[link].parent
        old = [night for night in self.lake if night <= until]
        return 1 - len(seen.intersection(old)) / len(old)


def year(rule: str, late: float, rejected: float, rolled_back: float, seed: int) -> tuple[float, int]:
    """Share of rows that were never learned, and how many trainings the year took."""
    rng, world = np.random.default_rng(seed), Year()
    arrives = [n + (rng.integers(1, 6) if rng.random() < late else 0) for n in range(NIGHTS)]
    luck = rng.random((NIGHTS, 2))
    for n in range(NIGHTS):
        tonight = FIRST + timedelta(days=n)
        world.lake |= {FIRST + timedelta(days=d): str(d) for d in range(n + 1) if arrives[d] == n}
        nights, is_new = getattr(world, rule)()
        if not is_new or ROWS * len(nights) < ENOUGH:
            continue
        before = world.production
        drawn = {night: world.lake[night] for night in nights}
        world.trainings.append(Training(tonight, str(n), before, drawn))
        if luck[n, 0] >= rejected:
            world.moves.append(("production", str(n)))
            if luck[n, 1] < rolled_back:
                world.moves.append((ROLLBACK, before))
    return world.unlearned(FIRST + timedelta(days=NIGHTS - 30)), len(world.trainings)


def main() -> None:
    print(
        "| world | never learned, by state | since the last training | trainings, by state | since the last |"
    )
    print("|---|---:|---:|---:|---:|")
    for name, world in WORLDS.items():
        found = {
            rule: np.mean([year(rule, *world, seed) for seed in range(SEEDS)], axis=0)
            for rule in ("by_state", "since_last")
        }
        state, since = found["by_state"], found["since_last"]
        print(f"| {name} | {state[0]:.1%} | {since[0]:.1%} | {state[1]:.0f} | {since[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
