"""Whether one tenant or three people decide a stage of a rollout. Pure.

Whoever speaks most for a decision in one measure (users' ratings, or one of the guards) is left out, and the
analysis is asked again with what is left. The decision waits where it would be another one, and more rests on
so few than in clean worlds (`policy.stats.influence`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.core.config import Promote, Stage
from pipelines.core.facts.rollout import RolloutLeftOut
from pipelines.policy.night.caps import LEAST_PEOPLE
from pipelines.policy.rollout.analysis import Analysis, RolloutDecision, in_time, shown
from pipelines.policy.rollout.observations import bad_answers
from pipelines.policy.rollout.traffic import Person, Traffic
from pipelines.policy.stats.influence import (
    Ints,
    Side,
    chance_of_group,
    chance_of_people,
    few_people,
    numbered,
    one_group,
)

WAITS = "not yet"  # how the reason of a decision that waits begins
MOST_PEOPLE = 3
SEED = 12  # of the clean worlds: a second look at the same answers decides the same
YES_NO = np.array([1.0, 0.0])


@dataclass(frozen=True)
class Measure:
    """Sides whose sum speaks for a decision, and whose each place is."""

    name: str
    sides: Sequence[Side]
    people: Sequence[Person]


def analyse_people(stage: Stage, rules: Promote, traffic: Traffic) -> Analysis:
    """The decision at this look. It waits where one tenant or three people carry it beyond clean worlds."""
    found = shown(stage, rules, traffic.observations())
    if found.decision is not RolloutDecision.CONTINUE:
        found = _unless_carried(rules, found, left_out(stage, rules, traffic, found.decision))
    return in_time(stage, traffic.seconds, found)


def left_out(
    stage: Stage, rules: Promote, traffic: Traffic, decision: RolloutDecision
) -> list[RolloutLeftOut]:
    """The analysis without the tenant, and without the three people, who speak most for a decision.

    Nobody is left out of what fewer than ten people gave on one side, and no tenant of what one tenant gave.
    """
    rng, found = np.random.default_rng(SEED), []
    for measure in _measures(stage, rules, traffic, decision):
        tenants, whose = numbered([tenant for tenant, _ in measure.people])
        if tenants > 1:
            group = one_group(measure.sides, whose)
            places = np.flatnonzero(whose == group.places[0])
            answer = _asked_again(stage, rules, traffic, measure, places)
            chance = None if answer is decision else chance_of_group(measure.sides, whose, group, rng)
            found.append(_part(measure, places, measure.people[places[0]][0], answer, chance))
        few = few_people(measure.sides, MOST_PEOPLE)
        places = np.array(few.places)
        answer = _asked_again(stage, rules, traffic, measure, places)
        chance = None if answer is decision else chance_of_people(measure.sides, few, rng)
        found.append(_part(measure, places, None, answer, chance))
    return found


def _asked_again(
    stage: Stage, rules: Promote, traffic: Traffic, measure: Measure, places: Ints
) -> RolloutDecision:
    """The decision without these people. The least numbers were met with all, and are not asked again."""
    asked = stage.model_copy(update={"min_answers": 1, "min_rated": 0})
    gone = {measure.people[place] for place in places}
    return shown(asked, rules, traffic.observations(gone)).decision


def _part(
    measure: Measure, places: Ints, tenant: str | None, answer: RolloutDecision, chance: float | None
) -> RolloutLeftOut:
    rows = sum(int(side.counts[places].sum()) for side in measure.sides)
    p_value = None if chance is None else round(chance, 6)
    return RolloutLeftOut(
        measure=measure.name, tenant=tenant, rows=rows, answer=answer.value, p_value=p_value
    )


def _unless_carried(rules: Promote, found: Analysis, parts: Sequence[RolloutLeftOut]) -> Analysis:
    """The decision, with who was left out; it waits where they decide beyond clean worlds."""
    level = rules.alpha_influence / max(1, len(parts))
    evidence = found.evidence | {"left_out": [part.model_dump(mode="json") for part in parts]}
    reasons = (*found.reasons, *_in_words(found.decision, parts))
    deciding = {part.who for part in parts if part.p_value is not None and part.p_value <= level}
    if not deciding:
        return replace(found, reasons=reasons, evidence=evidence)
    who = " and ".join(sorted(deciding))
    waits = f"{WAITS} {found.decision}: {who} decide more than so few do in clean worlds"
    return Analysis(RolloutDecision.CONTINUE, (waits, *reasons), evidence)


def _in_words(decision: RolloutDecision, parts: Sequence[RolloutLeftOut]) -> Iterator[str]:
    """A sentence about the tenant, and one about the people: where they matter most."""
    if not parts:
        yield "too few people to leave any out"
    for of_people, name in ((False, "the tenant"), (True, "the three people")):
        kind = [part for part in parts if (part.tenant is None) is of_people]
        changed = [part for part in kind if part.p_value is not None]
        if changed:
            most = min(changed, key=lambda part: part.p_value or 0)
            clean = f"so much rests on as few in {most.p_value:.1%} of clean worlds"
            what = f"{most.measure}: {most.rows} answers"
            yield f"without {most.who} it would be {most.answer} ({what}; {clean})"
        elif kind:
            yield f"without {name} who speak{'s' * (not of_people)} most for it still {decision}"


def _measures(stage: Stage, rules: Promote, traffic: Traffic, decision: RolloutDecision) -> Iterator[Measure]:
    """What could carry a decision: ratings (in the shadow, pairs), and each guard."""
    sign = 1 if decision is RolloutDecision.PROMOTE else -1
    if stage.weight:
        yield from _of_two_sides("liked", traffic.ratings, sign)
    else:
        yield from _of_pairs(traffic, sign)
    whose = [person for person, _ in traffic.attempts]
    attempts = [attempt for _, attempt in traffic.attempts]
    for guard, flags in bad_answers(stage, rules, attempts).items():
        rows = [
            (person, (attempt.candidate, bad))
            for person, attempt, bad in zip(whose, attempts, flags, strict=True)
            if bad is not None
        ]
        yield from _of_two_sides(guard, rows, -sign)


def _of_two_sides(
    name: str, rows: Sequence[tuple[Person, tuple[bool, bool]]], sign: int
) -> Iterator[Measure]:
    """`rows`: (is the candidate's, yes or no). `sign`: 1 if the candidate's yes speaks for the decision."""
    people, places = numbered([person for person, _ in rows])
    counts = np.zeros((2, people, 2), dtype=np.int64)
    if rows:
        candidate, yes = np.array([row for _, row in rows], dtype=np.int64).T
        np.add.at(counts, (1 - candidate, places, 1 - yes), 1)
    sides = [Side(counts[0], sign * YES_NO), Side(counts[1], -sign * YES_NO)]
    yield from _of_enough(name, sides, rows)


def _of_pairs(traffic: Traffic, sign: int) -> Iterator[Measure]:
    """The most that each rated pair's difference may be: 1, 0 or -1."""
    people, places = numbered([person for person, _ in traffic.pairs])
    counts = np.zeros((people, 3), dtype=np.int64)
    if traffic.pairs:
        outcomes = np.array([1 - pair.most for _, pair in traffic.pairs], dtype=np.int64)
        np.add.at(counts, (places, outcomes), 1)
    yield from _of_enough("pairs", [Side(counts, sign * np.array([1.0, 0.0, -1.0]))], traffic.pairs)


def _of_enough(name: str, sides: Sequence[Side], rows: Sequence[tuple[Person, object]]) -> Iterator[Measure]:
    if min(int((side.counts.sum(axis=1) > 0).sum()) for side in sides) >= LEAST_PEOPLE:
        yield Measure(name, sides, list(dict.fromkeys(person for person, _ in rows)))
