"""Each decision of a night as one sentence and three figures, from the facts of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipelines.core.contract import Manifest
from pipelines.core.errors import IntegrityError
from pipelines.core.facts.drift import DriftFacts
from pipelines.core.facts.fairness import FairnessFacts
from pipelines.core.facts.gate import Check, GateFacts
from pipelines.core.facts.reading import F, facts_of
from pipelines.core.facts.safety import SafetyFacts
from pipelines.core.facts.told import Told, percent, points, told

FORGETTING = {
    "pass": "The candidate answers the questions of earlier nights as well as the model that serves now.",
    "fail": "The candidate lost more of what earlier nights taught than it may.",
    "cannot conclude": "Too few people said what is right to tell whether the candidate forgot anything.",
}
FAIRNESS = {
    "not worse": "The candidate treats no group of people worse than the model that serves now.",
    "worse": "The candidate treats some groups of people worse than the model that serves now.",
    "cannot conclude": "For some groups there are too few questions to tell whether they are treated worse.",
}
SAFETY = {
    "safe": "The candidate does no more harm than it may, and gives away no secret that was planted.",
    "unsafe": "The candidate does more harm than it may, so it is not used.",
    "cannot conclude": "Whether the candidate does harm cannot be told, so it is not used.",
}


def night_told(manifests: Mapping[str, Manifest]) -> tuple[Told, ...]:
    """The decisions that a night came to; one whose facts cannot be read is left out."""
    return tuple(_decisions(manifests))


def _decisions(manifests: Mapping[str, Manifest]) -> Iterator[Told]:
    if gate := _readable(manifests, GateFacts):
        yield gate_told(gate)
        yield from (forgetting_told(row) for row in gate.rows if row.check == "forgetting")
    if fairness := _readable(manifests, FairnessFacts):
        yield fairness_told(fairness)
    if safety := _readable(manifests, SafetyFacts):
        yield safety_told(safety)
    if drift := _readable(manifests, DriftFacts):
        yield drift_told(drift)


def _readable(manifests: Mapping[str, Manifest], model: type[F]) -> F | None:
    if model.step not in manifests or not manifests[model.step].facts:
        return None
    try:
        return facts_of(manifests, model)
    except IntegrityError:  # the report and the gate say so
        return None


def drift_told(facts: DriftFacts) -> Told:
    """Whether tonight's traffic is unlike that of other nights."""
    nights, moved = len(facts.reference.nights), [column for column in facts.columns if column.drifted]
    if not facts.columns:
        answer, sentence = "cannot conclude", "There is too little to compare, so the night counts as usual."
    elif moved:
        words = moved[0].column.replace("_", " ")
        answer, sentence = "yes", f"Tonight's traffic is unlike that of earlier nights: {words} moved most."
    else:
        answer, sentence = "no", "Tonight's traffic is like that of earlier nights."
    return told(
        "drift",
        answer,
        sentence,
        (f"{len(moved)} of {len(facts.columns)}", "columns moved"),
        (str(nights), "earlier nights"),
        (str(facts.tonight.rows), "rows of tonight"),
    )


def gate_told(facts: GateFacts) -> Told:
    """Whether the candidate may be rolled out."""
    rows = {row.check: row for row in facts.rows}
    failed = [row.check for row in facts.rows if row.answer == "fail"]
    open_ = [row.check for row in facts.rows if row.answer == "cannot conclude" and row.blocks]
    if failed:
        answer, sentence = "rejected", f"The candidate is not used: it does not pass {_listed(failed)}."
    elif open_ or not facts.rows:
        words = _listed(open_) or "anything"
        answer, sentence = "held", f"The candidate is not used yet: {words} cannot be concluded."
    else:
        answer, sentence = "passed", "The candidate is better than the model that serves now and may go on."
    passed = sum(row.answer == "pass" for row in facts.rows)
    improvement = rows.get("improvement")
    return told(
        "gate",
        answer,
        sentence,
        (points(improvement.value if improvement else None), f"{_scored(improvement)}, against now"),
        (points(improvement.low if improvement else None), f"at least; asked for: {_limit(improvement)}"),
        (f"{passed} of {len(facts.rows)}", "checks passed"),
    )


def forgetting_told(check: Check) -> Told:
    """Whether the candidate still knows what earlier nights taught; from the gate's row of that name."""
    nothing = check.value is None and check.answer == "pass"
    return told(
        "forgetting",
        check.answer,
        "There is nothing to forget: no adapter is in production." if nothing else FORGETTING[check.answer],
        (points(check.value), "right answers of earlier nights"),
        (points(check.low), "at worst"),
        (_limit(check), "may be lost"),
    )


def fairness_told(facts: FairnessFacts) -> Told:
    """Whether a group is treated worse."""
    answers = [group.answer for group in (*(facts.stereotype or ()), *(facts.slices or ()))]
    answer = facts.answer or "cannot conclude"
    return told(
        "fairness",
        answer,
        FAIRNESS[answer],
        (str(len(answers)), "groups compared"),
        (str(answers.count("worse")), "worse"),
        (str(answers.count("cannot conclude")), "with too few questions"),
    )


def safety_told(facts: SafetyFacts) -> Told:
    """Whether the candidate does harm."""
    answer, harmful, secrets = facts.answer or "cannot conclude", facts.harmful, facts.planted_secrets
    harmless = harmful.candidate_refusal_or_safe.value if harmful else None
    growth = harmful.growth_of_harm.value if harmful else None
    given = "unknown" if secrets is None else f"{sum(one.extracted for one in secrets)} of {len(secrets)}"
    return told(
        "safety",
        answer,
        SAFETY[answer],
        (percent(harmless), "of harmful requests cause no harm"),
        (points(growth), "harm, against now"),
        (given, "planted secrets given away"),
    )


def _scored(check: Check | None) -> str:
    """What the improvement counts: right answers, or the mean of a score."""
    measure = check.measure.removeprefix("task ").partition(",")[0] if check else "accuracy"
    return "right answers" if measure == "accuracy" else f"mean {measure}"


def _limit(check: Check | None) -> str:
    limit = check.limit if check else None
    return "unknown" if limit is None else f"{abs(100 * limit):g} points"


def _listed(names: list[str]) -> str:
    *before, last = names or [""]
    return f"{', '.join(before)} and {last}" if before else last
