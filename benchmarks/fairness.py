"""What fairness promises, simulated: how often equal candidates are stopped, and how much harm is found.

Run it with `python -m benchmarks.fairness`. It prints Markdown tables. Its sections
are `plan`, `equal` and `harmed`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.tables import markdown
from pipelines.core.config import Fairness, Gate
from pipelines.core.facts.fairness import FairnessFacts, FairnessPlan, SliceFinding
from pipelines.policy.night.fairness import compare, overall
from pipelines.policy.night.groups import CHURN, Rule, enough_items, least_found, smallest_group
from pipelines.policy.night.open_groups import answer_for

ALPHA, MARGIN = 0.05, Fairness().margin
NIGHTS = 400
SLICES = (12, 4, 4, 3)  # values of a slice, as the sample has them
SETS = 15  # groups of other items


@dataclass(frozen=True)
class World:
    """Candidates and the items of a night.

    `n`: items of a subject, and of each group of the sets. `churn`: share of items that get worse by chance;
    as many get better. `harm`: growth of harm in the first subject. `mixed`: harm grows by 0.1 in a third of
    the subjects, and shrinks by as much in another.
    """

    n: int
    churn: float = CHURN
    harm: float = 0.0
    large: float = 0.3
    mixed: bool = False


@cache
def finding(n: int, better: int, worse: int, groups: int) -> SliceFinding:
    before, after = np.zeros(n), np.zeros(n)
    before[:better], after[better : better + worse] = 1, 1
    found = compare(before.tolist(), after.tolist(), MARGIN, ALPHA, groups)
    return SliceFinding(slice="", value="", **dict(found))


def changes_of(world: World, rng: np.random.Generator) -> NDArray[np.int_]:
    """(items of the suite,) 1: got worse, -1: got better, 0: neither. Subject by subject."""
    moved = rng.choice((-0.1, 0.0, 0.1), SLICES[0]) if world.mixed else np.zeros(SLICES[0])
    growth = moved + np.where(np.arange(SLICES[0]) == 0, world.harm, 0.0)
    back = np.minimum(world.churn, (1 - np.abs(growth)) / 2)
    drawn, better, worse = (
        rng.random((SLICES[0], world.n)),
        back + np.maximum(-growth, 0),
        back + np.maximum(growth, 0),
    )
    return (np.where(drawn < worse[:, None], 1, 0) - (drawn > 1 - better[:, None])).ravel()


def night(world: World, rng: np.random.Generator) -> tuple[str, str]:
    """The gate's answer, and the first subject's finding."""
    changes = changes_of(world, rng)
    subjects = np.repeat(np.arange(SLICES[0]), world.n)
    others = (rng.permutation(np.arange(len(changes)) % count) for count in SLICES[1:])
    values = [subjects, *others]
    groups = [changes[of == value] for of in values for value in range(of.max() + 1)]
    drawn = rng.multinomial(world.n, (world.churn, world.churn, 1 - 2 * world.churn), SETS)
    counts = [(len(one), int((one < 0).sum()), int((one > 0).sum())) for one in groups]
    counts += [(world.n, better, worse) for better, worse, _ in drawn.tolist()]
    found = tuple(finding(*one, len(counts)) for one in counts)
    facts = FairnessFacts(
        plan=FairnessPlan(smallest_group=0, large_harm=world.large, groups=()),
        slices=found,
        answer=overall([one.answer for one in found]),
    )
    return answer_for(facts, Gate())[0], found[0].answer


def simulated(world: World, seed: int) -> tuple[float, float, float]:
    """Shares of nights: rejected, held, and the first subject found worse."""
    rng = np.random.default_rng([seed, world.n])
    answers, first = zip(*(night(world, rng) for _ in range(NIGHTS)), strict=True)
    return (
        float(np.mean(np.array(answers) == "fail")),
        float(np.mean(np.array(answers) == "cannot conclude")),
        float(np.mean(np.array(first) == "worse")),
    )


def equal_candidates() -> Iterator[tuple[str, ...]]:
    for n in (35, 70):
        rejected, held, _ = simulated(World(n, mixed=True), 2)
        name = f"large harm 0.3, {n} items a group, a third of the subjects 10 points worse, a third better"
        yield name, f"{rejected:.1%}", f"{held:.1%}"
    for large, factor in ((0.4, 1), (0.4, 2), (0.3, 1), (0.3, 2)):
        n = round(enough_items(large, ALPHA) * factor)
        for churn in (0.1, 0.15, 0.2):
            rejected, held, _ = simulated(World(n, churn, large=large), 1)
            name = f"large harm {large:g}, {n} items a group, {churn:.0%} each way"
            yield name, f"{rejected:.1%}", f"{held:.1%}"


def harmed_groups() -> Iterator[tuple[str, ...]]:
    for large, factor in ((0.4, 1), (0.3, 1), (0.3, 2)):
        world = World(round(enough_items(large, ALPHA) * factor), large=large)
        for harm in (0.3, 0.4, 0.5, 1.0):
            rejected, held, first = simulated(replace(world, harm=harm), 3)
            name = f"large harm {large:g}, {world.n} items a group, harm grows by {harm:g}"
            yield name, f"{first:.1%}", f"{rejected:.1%}", f"{held:.1%}", f"{rejected + held:.1%}"


def planned() -> Iterator[tuple[str, ...]]:
    for n in (10, 18, 29, 45, 60, 100, 240, 1000):
        found = [least_found(n, Rule(groups, MARGIN, 0.3, ALPHA)) for groups in (10, 40, 200)]
        yield f"{n}", *(f"{100 * one:.0f} points" for one in found)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Each row as soon as it is known."""
    print(markdown(head, []))
    for row in rows:
        print("|", " | ".join(row), "|", flush=True)


def main(sections: list[str]) -> None:
    print(describe())
    for section in sections or SECTIONS:
        SECTIONS[section]()


def plan() -> None:
    print("\nThe least growth of harm that is found in 80% of nights, where a large harm is 0.3\n")
    table(("items of the group", "10 groups", "40 groups", "200 groups"), planned())
    smallest = [f"{groups}: {smallest_group(groups, ALPHA)}" for groups in (1, 10, 40, 200)]
    print(f"\nItems from which on a fall from all right to all wrong is always worse: {', '.join(smallest)}")


def equal() -> None:
    print(f"\n{NIGHTS} nights a row, {sum(SLICES) + SETS} groups. Candidates that harm nobody\n")
    table(("world", "rejected", "held"), equal_candidates())


def harmed() -> None:
    print(
        f"\n{NIGHTS} nights a row. One subject is harmed; 10% of the items get worse by chance, 10% better\n"
    )
    table(("world", "found worse", "rejected", "held", "stopped"), harmed_groups())


SECTIONS = {"plan": plan, "equal": equal, "harmed": harmed}

if __name__ == "__main__":
    main(sys.argv[1:])
