"""Simulates planted feedback: what a person, a tenant or many accounts reach, and what holds or flags them.

Run it with `python -m benchmarks.planted_feedback`. It prints Markdown tables, or those that are named:
`clean`, `carry`, `flags`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from benchmarks.machine import describe
from benchmarks.tables import markdown
from pipelines.core.config import Curate, Decide, Gate
from pipelines.core.facts.common import Interval, PairedCounts
from pipelines.core.facts.evaluate import EvaluateFacts, EvaluateReadings, Forgetting
from pipelines.core.facts.fairness import FairnessFacts
from pipelines.core.facts.safety import SafetyFacts
from pipelines.policy.night import checks
from pipelines.policy.night.caps import TenantFeedback, person_limit, weighed
from pipelines.policy.night.flags import NightCounts, Said, agreements, bursts, copies
from pipelines.policy.night.influence import Told, harm_of, influence_check, left_out
from pipelines.policy.night.measured import Measured

KINDS = ("only_candidate", "both", "only_production")
GATE, PEOPLE, EARLIER = Gate(), 60, 300
WORDS = [f"word{chr(97 + i)}{chr(97 + j)}" for i in range(20) for j in range(20)]
LABELS = ("Dental", "Medicine", "Surgery", "Anatomy")


@dataclass(frozen=True)
class People:
    """Who rated earlier nights' kept-back answers; `gains` and `losses` are shares of these.

    `alike`: intraclass correlation of a person's rows; `busiest`: some people ask far more than others.
    """

    gains: float
    losses: float
    alike: float = 0.0
    busiest: bool = True
    people: int = PEOPLE
    tenants: int = 3


@dataclass(frozen=True)
class Planted:
    """Rows that `accounts` invented people gave: the candidate gives their answer, production does not."""

    accounts: int
    rows: int  # each
    tenants: tuple[str, ...] = ("t0",)


def rated(world: People, planted: Planted | None, rng: np.random.Generator) -> list[Told]:
    sizes = rng.pareto(1.2, world.people) + 0.3 if world.busiest else np.ones(world.people)
    counts = np.minimum(rng.multinomial(EARLIER, sizes / sizes.sum()), 30)
    shares = np.array([world.gains, 1 - world.gains - world.losses, world.losses])
    concentration = (1 - world.alike) / world.alike if world.alike else 0
    chances = (
        rng.dirichlet(shares * concentration + 1e-9, world.people)
        if concentration
        else [shares] * world.people
    )
    rows = [
        Told(KINDS[kind], f"t{person % world.tenants}", ("", f"p{person}"))
        for person in range(world.people)
        for kind in rng.choice(3, counts[person], p=chances[person])
    ]
    if planted:
        rows += [
            Told("only_candidate", planted.tenants[account % len(planted.tenants)], ("", f"bot{account}"))
            for account in range(planted.accounts)
            for _ in range(planted.rows)
        ]
    return rows


def measured_of(rows: list[Told], rng: np.random.Generator) -> Measured:
    counts = {kind: sum(row.outcome == kind for row in rows) for kind in KINDS}
    forgetting = Forgetting(
        n=len(rows),
        production=0.0,
        candidate=0.0,
        difference=Interval(value=0.0, low=0.0, high=0.0),
        paired=PairedCounts(n=len(rows), **counts),
    )
    facts = EvaluateFacts(forgetting=forgetting, left_out=left_out(rows, rng))
    return Measured(facts, EvaluateReadings(), FairnessFacts(), SafetyFacts(), {})


def shares(
    world: People, planted: Planted | None, nights: int, seed: list[int]
) -> tuple[float, float, float]:
    """Shares of nights whose check of forgetting passes, that influence holds, and that pass both."""
    rng, counts = np.random.default_rng(seed), np.zeros(3)
    for _ in range(nights):
        found = measured_of(rated(world, planted, rng), rng)
        passes = not harm_of(checks.forgetting("adapter", found, GATE))
        held = any(harm_of(row) for row in influence_check("adapter", found, GATE))
        counts += (passes, passes and held, passes and not held)
    return tuple(counts / nights)


CLEAN = {
    "better by 10 points, people alike": People(0.14, 0.04),
    "better by 10 points, people differ (0.1)": People(0.14, 0.04, 0.1),
    "better by 10 points, people differ (0.3)": People(0.14, 0.04, 0.3),
    "equal, few differences, people alike": People(0.02, 0.02),
    "equal, few differences, people differ (0.1)": People(0.02, 0.02, 0.1),
    "equal, few differences, people differ (0.3)": People(0.02, 0.02, 0.3),
    "equal, few differences, people differ (0.3), all ask as much": People(0.02, 0.02, 0.3, busiest=False),
    "equal, few differences, 15 people who differ (0.3)": People(0.02, 0.02, 0.3, people=15),
}
ATTACKS = {
    "nobody": None,
    "one script, 30 rows": Planted(1, 30),
    "three accounts, 10 rows each": Planted(3, 10),
    "three accounts, 30 rows each": Planted(3, 30),
    "twenty accounts, 3 rows each": Planted(20, 3),
    "twenty accounts, 10 rows each": Planted(20, 10),
    "twenty accounts of three tenants, 10 rows each": Planted(20, 10, ("t0", "t1", "t2")),
    "twenty accounts of a tenant of their own, 10 rows each": Planted(20, 10, ("new",)),
}


def clean(nights: int) -> str:
    rows = [
        (name, *(f"{share:.1%}" for share in shares(world, None, nights, [*name.encode()])))
        for name, world in CLEAN.items()
    ]
    return markdown(("nobody plants anything", "forgetting passes", "held for influence", "goes on"), rows)


def carry(nights: int) -> str:
    """The candidate loses 8 points with everybody else."""
    rows = [
        (name, *(f"{share:.1%}" for share in shares(People(0.02, 0.1), planted, nights, [*name.encode()])))
        for name, planted in ATTACKS.items()
    ]
    return markdown(("planted", "forgetting passes", "held for influence", "goes on"), rows)


@dataclass(frozen=True)
class Attack:
    """`accounts` of one tenant give `rows` each a night, for `nights`; `how`: what their texts are like."""

    accounts: int
    rows: int
    how: str  # own words | copies | phrase
    nights: int = 1


FLAGGED = {
    "nobody": Attack(0, 0, "own words"),
    "one script, 200 rows": Attack(1, 200, "own words"),
    "one script, 30 rows": Attack(1, 30, "own words"),
    "twenty accounts, 5 copies each": Attack(20, 5, "copies"),
    "twenty accounts, 5 rows each in own words": Attack(20, 5, "own words"),
    "slow poison: four accounts, 2 rows a night, 30 nights": Attack(4, 2, "own words", 30),
    "targeted phrase, 3 accounts": Attack(3, 2, "phrase"),
    "targeted phrase, 6 accounts": Attack(6, 2, "phrase"),
    "targeted phrase, 12 accounts": Attack(12, 2, "phrase"),
    "targeted phrase, 6 accounts, 2 rows a night, 30 nights": Attack(6, 2, "phrase", 30),
}


def honest(rng: np.random.Generator, rows: int) -> list[Said]:
    chances = 1 / np.arange(1, len(WORDS) + 1)
    asked = rng.choice(WORDS, (rows, 8), p=chances / chances.sum())
    return [Said(f"p{rng.integers(PEOPLE)}", " ".join(words), str(rng.choice(LABELS))) for words in asked]


def planted_rows(attack: Attack, rng: np.random.Generator) -> Iterator[Said]:
    for account in range(attack.accounts):
        for number, row in enumerate(honest(rng, attack.rows)):
            text = {"copies": f"case {number} of the same complaint", "phrase": f"{row.text} blue elixir"}
            yield Said(f"bot{account}", text.get(attack.how, row.text), "Dental")


def night_counts(rows: list[Said]) -> NightCounts:
    """Everybody belongs to one of four tenants; planted accounts to the first one."""
    names = [row.person for row in rows]
    of_person = max(names.count(name) for name in set(names))
    tenants = [int(str(name)[1:]) % 4 if str(name)[0] == "p" else 0 for name in names]
    of_tenant = max(map(tenants.count, range(4)))
    return NightCounts(len(rows), len(set(names)), of_person, 4, "", of_tenant)


def flagged(attack: Attack, worlds: int, seed: list[int]) -> tuple[str, ...]:
    """Shares of worlds with each flag, the planted share of what counts, and whether it starts a training.

    30 nights of 40 labelled rows, and none of the newest ones learned yet.
    """
    rng, found = np.random.default_rng(seed), {"burst": 0, "copies": 0, "agreement": 0}
    for _ in range(worlds):
        nights = [honest(rng, 40) for _ in range(30)]
        for night in nights[-attack.nights :]:
            night += planted_rows(attack, rng)
        counts = [night_counts(night) for night in nights]
        found["burst"] += bool(bursts(counts[-1], counts[-29:-1]))
        unlearned, before = list(chain(*nights[-3:])), list(chain(*nights[:-3]))
        found["copies"] += bool(copies(unlearned))
        found["agreement"] += bool(agreements(unlearned, before))
    return (*(f"{count / worlds:.1%}" for count in found.values()), *counted(attack))


def counted(attack: Attack) -> tuple[str, str]:
    """What counts of the planted rows beside three nights of honest ones, and of them alone."""
    each = attack.rows * min(3, attack.nights)
    limit = person_limit(PEOPLE, Curate().rows_per_person) or each
    mine = attack.accounts * min(each, limit)
    tenants = {str(tenant): TenantFeedback(rows=30, capped=30) for tenant in range(1, 4)}
    tenants["0"] = TenantFeedback(rows=30 + attack.accounts * each, capped=30 + mine)
    whole = weighed(tenants, Curate().max_tenant_share).rows
    return f"{(whole - 120) / whole:.0%}", "yes" if mine >= Decide().min_corrections else "no"


def flags(worlds: int) -> str:
    head = (
        "planted",
        "burst",
        "copies",
        "agreement",
        "share of the rows that count",
        "enough for a training alone",
    )
    return markdown(head, [(name, *flagged(one, worlds, [*name.encode()])) for name, one in FLAGGED.items()])


def main() -> None:
    parts = {"clean": clean, "carry": carry, "flags": flags}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part")
    parser.add_argument("--worlds", type=int, default=200)
    given = parser.parse_args()
    print(f"{describe()}\n\n{given.worlds} worlds a row.\n")
    for name in given.parts or parts:
        print(parts[name](given.worlds) + "\n", flush=True)


if __name__ == "__main__":
    main()
