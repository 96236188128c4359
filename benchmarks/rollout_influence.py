"""Simulates rollouts with few people who weigh much: how often they wait, and what planted accounts reach.

Run it with `python -m benchmarks.rollout_influence`. It prints Markdown tables, or those that are named:
`clean`, `planted`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np

from benchmarks.machine import describe
from benchmarks.tables import markdown
from pipelines.core.config import Config, Promote
from pipelines.core.traffic_split import Adapter
from pipelines.evaluation.tasks import task_of
from pipelines.operations.rollout_evidence import collect
from pipelines.policy.rollout.analysis import Analysis, RolloutDecision, analyse
from pipelines.policy.rollout.influence import WAITS, analyse_people
from pipelines.stores.journal.comparison import ComparedAnswer

START = datetime.combine(date(2026, 1, 1), datetime.min.time(), UTC)
CANDIDATE, PEOPLE, ANSWERS, LOOKS, RATED = Adapter("2", "b" * 64), 800, 2_400, 8, 0.6
RULES = Promote()
TASK = task_of(Config(profile="simulated", register={"name": "simulated"}))
LAST = RULES.stages[-1].model_copy(update={"margin": 0.2})  # at 10 points few rollouts end in so few answers


@dataclass(frozen=True)
class World:
    """Who asks during the last canary stage. Pairs of shares: production's, then the candidate's.

    `alike`: intraclass correlation of a person's answers; `busy`: some people ask far more than others;
    `shares`: of the people, each tenant's; `first_tenant`: how much more its people like the candidate.
    """

    liked: tuple[float, float] = (0.6, 0.6)
    refused: tuple[float, float] = (0.02, 0.02)
    alike: float = 0.0
    busy: bool = False
    shares: tuple[float, ...] = (1.0,)
    first_tenant: float = 0.0
    per_person: int = 1  # `promote.answers_per_person`


@dataclass(frozen=True)
class Planted:
    """`accounts` of the first tenant, which the candidate answers, with as many `answers` each."""

    accounts: int
    answers: int
    liked: bool
    refused: bool = False


class Row(NamedTuple):
    person: tuple[str, str]
    candidate: bool
    refused: bool
    liked: bool
    rated: bool


class Answers:
    """What `collect` reads of a journal, up to a look."""

    def __init__(self, rows: Sequence[ComparedAnswer]) -> None:
        self._rows = rows

    def compared_answers(self, *_: object) -> Sequence[ComparedAnswer]:
        return self._rows

    def tenants(self, *_: object) -> list[tuple[str, int, int]]:
        """Nobody is known from before."""
        return []


def rows_of(world: World, planted: Planted | None, rng: np.random.Generator) -> list[Row]:
    """All answers of a stage, in order of arrival."""
    sizes = rng.pareto(1.2, PEOPLE) + 0.3 if world.busy else np.ones(PEOPLE)
    asked = np.minimum(rng.multinomial(ANSWERS, sizes / sizes.sum()), 300)
    rows = [row for person, count in enumerate(asked) for row in _of_person(world, person, count, rng)]
    if planted:
        rows += [
            Row(("t0", f"bot{account}"), True, planted.refused, planted.liked, True)
            for account in range(planted.accounts)
            for _ in range(planted.answers)
        ]
    return [rows[place] for place in rng.permutation(len(rows))]


def _of_person(world: World, person: int, count: int, rng: np.random.Generator) -> Iterator[Row]:
    tenant = int(rng.choice(len(world.shares), p=world.shares))
    side = bool(rng.random() < LAST.weight)
    more = world.first_tenant if side and tenant == 0 else 0.0
    liked = _chance(min(1.0, world.liked[side] + more), world.alike, rng)
    refused = _chance(world.refused[side], world.alike, rng)
    for _ in range(count):
        draws = rng.random(3)
        yield Row((f"t{tenant}", f"p{person}"), side, *(bool(x) for x in draws < (refused, liked, RATED)))


def _chance(share: float, alike: float, rng: np.random.Generator) -> float:
    if not alike or share in (0.0, 1.0):
        return share
    strength = (1 - alike) / alike
    return float(rng.beta(share * strength, (1 - share) * strength))


def journal_rows(rows: Sequence[Row]) -> list[ComparedAnswer]:
    return [
        ComparedAnswer(
            is_candidate=row.candidate,
            is_error=False,
            refused=row.refused,
            latency_ms=1.0,
            rating=(1 if row.liked else -1) if row.rated else None,
            request_id=str(place),
            parent=None,
            person=row.person,
            route="canary" if row.candidate else "production",
            fault="",
            completion="",
            feedback_seq=place + 1 if row.rated else None,
            correction=None,
        )
        for place, row in enumerate(rows)
    ]


def ended(rows: Sequence[ComparedAnswer], per_person: int) -> tuple[str, str, bool]:
    """How a stage ends, promote, worse or time: without the rule, then with it; whether it waited."""
    before, waited = "", False
    for look in range(1, LOOKS + 1):
        seen = Answers(rows[: len(rows) * look // LOOKS])
        seconds = LAST.max_s if look == LOOKS else LAST.bake_s
        traffic = collect(seen, START, seconds, CANDIDATE, None, TASK, per_person, RULES.max_tenant_share)
        plain = _end(analyse(LAST, RULES, traffic.observations()))
        before = before or plain
        if plain in ("promote", "worse"):
            found = analyse_people(LAST, RULES, traffic)
            waited |= any(reason.startswith(WAITS) for reason in found.reasons)
            plain = _end(found)
        if plain:
            return before, plain, waited
    raise AssertionError("the last look ends the stage")


def _end(found: Analysis) -> str:
    """Empty where the stage goes on."""
    if found.decision is RolloutDecision.ABORT:
        return "time" if found.reasons[0].startswith("Not enough") else "worse"
    return "promote" if found.decision is RolloutDecision.PROMOTE else ""


def shares(world: World, planted: Planted | None, rollouts: int, seed: list[int]) -> list[float]:
    """Of rollouts: promoted and called worse without the rule, then with it, and those that waited for it."""
    rng, counts = np.random.default_rng(seed), np.zeros(5)
    for _ in range(rollouts):
        before, after, waited = ended(journal_rows(rows_of(world, planted, rng)), world.per_person)
        ends = [end == name for end in (before, after) for name in ("promote", "worse")]
        counts += (*ends, waited)
    return (counts / rollouts).tolist()


ALL = {"per_person": 0}  # every rating of a person counts
FOUR = (0.25, 0.25, 0.25, 0.25)
CLEAN = {
    "better by 10 points": World((0.6, 0.7)),
    "equal": World(),
    "equal, four tenants": World(shares=FOUR),
    "equal, some ask far more": World(busy=True),
    "equal, some ask far more and differ (0.1)": World(busy=True, alike=0.1),
    "equal, some ask far more and differ (0.3)": World(busy=True, alike=0.3),
    "equal, all ratings count, some ask far more": World(busy=True, **ALL),
    "equal, all ratings count, some ask far more and differ (0.3)": World(busy=True, alike=0.3, **ALL),
    "equal, one of three tenants has 80% of people": World(shares=(0.8, 0.1, 0.1)),
    "better by 5 points, with one of four tenants by 25": World((0.6, 0.65), shares=FOUR, first_tenant=0.2),
    "worse by 25 points": World((0.6, 0.35)),
}
WORSE, GOOD, HIDES = (0.6, 0.35), (0.6, 0.65), (0.02, 0.08)
LIKES, DISLIKES, REFUSED = Planted(3, 60, True), Planted(3, 60, False), Planted(1, 100, False, True)
PLANTED = {
    "worse by 25 points, three accounts, 60 likes each": (World(WORSE), LIKES),
    "... where all ratings count": (World(WORSE, **ALL), LIKES),
    "... and some ask far more": (World(WORSE, busy=True, **ALL), LIKES),
    "... and differ (0.1)": (World(WORSE, busy=True, alike=0.1, **ALL), LIKES),
    "... of one of four tenants": (World(WORSE, shares=FOUR, **ALL), LIKES),
    "... twenty accounts, 9 likes each": (World(WORSE, **ALL), Planted(20, 9, True)),
    "refuses 6% more, three accounts with 400 fine answers each": (
        World(refused=HIDES),
        Planted(3, 400, True),
    ),
    "better by 5 points, three accounts, 60 dislikes each": (World(GOOD), DISLIKES),
    "... where all ratings count ": (World(GOOD, **ALL), DISLIKES),
    "... and differ (0.1) ": (World(GOOD, busy=True, alike=0.1, **ALL), DISLIKES),
    "better by 5 points, one account, 100 refused answers": (World(GOOD), REFUSED),
}
HEAD = ("promoted before", "called worse before", "promoted", "called worse", "waited for this")


def clean(rollouts: int) -> str:
    rows = [(name, *_shown(shares(world, None, rollouts, [*name.encode()]))) for name, world in CLEAN.items()]
    return markdown(("nobody plants anything; the candidate is", *HEAD), rows)


def planted(rollouts: int) -> str:
    rows = [
        (name.strip(), *_shown(shares(world, who, rollouts, [*name.encode()])))
        for name, (world, who) in PLANTED.items()
    ]
    return markdown(("planted", *HEAD), rows)


def _shown(found: Sequence[float]) -> list[str]:
    return [f"{share:.1%}" for share in found]


def main() -> None:
    parts = {"clean": clean, "planted": planted}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part")
    parser.add_argument("--rollouts", type=int, default=100)
    given = parser.parse_args()
    print(f"{describe()}\n\n{given.rollouts} rollouts a row.\n")
    for name in given.parts or parts:
        print(parts[name](given.rollouts) + "\n", flush=True)


if __name__ == "__main__":
    main()
