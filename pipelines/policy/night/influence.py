"""Whether one tenant or three people decide what is found on the kept-back rows of earlier nights. Pure.

The most influential ones are left out, and the check of forgetting is asked again. The night is held where
the check lets a candidate pass only with them, and they carry more than so few do in clean worlds
(`policy.stats.influence`). Toward the candidate a row counts with the least that its difference may be,
toward production with the most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.core.config import Gate
from pipelines.core.facts.common import Kind, PairedCounts
from pipelines.core.facts.evaluate import Disliked, Favour, LeftOut
from pipelines.core.facts.gate import Check
from pipelines.policy.night import checks
from pipelines.policy.night.caps import LEAST_PEOPLE
from pipelines.policy.night.measured import Measured
from pipelines.policy.stats.influence import (
    Ints,
    Side,
    chance_of_group,
    chance_of_people,
    few_people,
    numbered,
    one_group,
)

MOST_PEOPLE = 3
TESTS = 2  # of tenants and of people, which share gate.alpha_influence
KNOWN = ("both", "only_production", "only_candidate", "neither")
TOWARD: Mapping[Favour, Mapping[str, int]] = {  # 0 for all other outcomes
    "candidate": {"only_candidate": 1, "only_production": -1, "not_won": -1, "open": -1},
    "production": {"only_candidate": -1, "only_production": 1, "not_lost": -1, "open": -1},
}


class Told(NamedTuple):
    """A kept-back row: a field of `PairedCounts` or of `Disliked`, and whose row it is."""

    outcome: str
    tenant: str
    person: tuple[str, str]

    @property
    def is_known(self) -> bool:
        """Whether people tell of both answers whether they are right."""
        return self.outcome in KNOWN


def left_out(rows: Sequence[Told], rng: np.random.Generator) -> tuple[LeftOut, ...]:
    """The rows without the most influential tenant, and without the three most influential people.

    Nobody is left out of what a single tenant gives, nor of fewer than ten people: there, one name may stand
    for all users of a service.
    """
    people, persons = numbered([row.person for row in rows])
    tenants, of_row = numbered([row.tenant for row in rows])
    whose = np.zeros(people, dtype=np.int64)
    whose[persons] = of_row
    found = []
    for favour, worth in TOWARD.items():
        sides = [_side(rows, persons, people, worth)]
        if tenants > 1:
            group = one_group(sides, whose)
            gone = of_row == group.places[0]
            tenant = rows[int(np.argmax(gone))].tenant
            found.append(_without(rows, gone, favour, tenant, chance_of_group(sides, whose, group, rng)))
        if people >= LEAST_PEOPLE:
            few = few_people(sides, MOST_PEOPLE)
            chance = chance_of_people(sides, few, rng)
            found.append(_without(rows, np.isin(persons, few.places), favour, None, chance))
    return tuple(found)


def influence_check(pinned: Kind, found: Measured, settings: Gate) -> list[Check]:
    """The row of the gate's table; none where nobody was looked for, as in older facts."""
    parts, whole = found.evaluate.left_out, found.evaluate.forgetting
    row = Check(
        check="influence",
        measure="forgetting without one tenant, or three people",
        answer="cannot conclude",
        detail=found.lacks("evaluate.left_out", ""),
        limit=settings.alpha_influence / TESTS,
    )
    if "evaluate.left_out" in found.unreadable:
        return [row]
    if parts is None or whole is None:
        return []
    with_all = checks.forgetting(pinned, found, settings)
    favour: Favour = "production" if harm_of(with_all) else "candidate"
    said, decides, p_values = [], [], [1.0]
    for part in (part for part in parts if part.favour == favour):
        without = checks.forgetting(pinned, _of(found, part), settings)
        said.append(f"{without.answer} without {part.who} ({part.rows} rows, p {part.p_value:.2g})")
        if favour == "candidate" and harm_of(without):
            p_values.append(part.p_value)
            decides += [part.who] * (part.p_value <= settings.alpha_influence / TESTS)
    words = f"forgetting: {with_all.answer}; {', '.join(said)}" if said else "too few people to leave any out"
    if decides:
        words = f"{' and '.join(decides)} decide more than so few do in clean worlds. {words}"
    changes = {"detail": words, "value": min(p_values), "answer": "cannot conclude" if decides else "pass"}
    return [row.model_copy(update=changes)]


def harm_of(check: Check) -> int:
    """How much a check stops: 0 nothing, 1 it holds the night, 2 it rejects the candidate."""
    if check.answer == "cannot conclude":
        return int(check.blocks)
    return 2 if check.answer == "fail" else 0


def _of(found: Measured, part: LeftOut) -> Measured:
    """What was measured, with the rows that are left in the place of all."""
    whole = found.evaluate.forgetting
    assert whole is not None
    left = whole.model_copy(update={"paired": part.paired, "disliked": part.disliked, "n": part.paired.n})
    evaluate = found.evaluate.model_copy(update={"forgetting": left})
    return Measured(evaluate, found.readings, found.fairness, found.safety, found.unreadable)


def _side(rows: Sequence[Told], persons: Ints, people: int, worth: Mapping[str, int]) -> Side:
    """How often each person's rows are worth 1, 0 and -1."""
    counts = np.zeros((people, 3), dtype=np.int64)
    outcomes = np.array([1 - worth.get(row.outcome, 0) for row in rows], dtype=np.int64)
    np.add.at(counts, (persons, outcomes), 1)
    return Side(counts, np.array([1.0, 0.0, -1.0]))


def _without(
    rows: Sequence[Told], gone: np.ndarray, favour: Favour, tenant: str | None, p_value: float
) -> LeftOut:
    counts = Counter(row.outcome for row, out in zip(rows, gone, strict=True) if not out)
    known = {name: counts.pop(name, 0) for name in KNOWN}
    return LeftOut(
        favour=favour,
        tenant=tenant,
        rows=int(gone.sum()),
        paired=PairedCounts.model_validate({"n": sum(known.values()), **known}),
        disliked=Disliked(**counts),
        p_value=round(p_value, 6),
    )
