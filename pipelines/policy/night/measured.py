"""What evaluate, fairness and safety measured, as the gate reads it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.core.contract import Manifest
from pipelines.core.facts.evaluate import EvaluateFacts, EvaluateReadings
from pipelines.core.facts.fairness import FairnessFacts
from pipelines.core.facts.reading import readable_parts
from pipelines.core.facts.safety import SafetyFacts


@dataclass(frozen=True)
class Measured:
    """What the measuring steps found. `unreadable`: `step.part` -> why that part is missing here."""

    evaluate: EvaluateFacts
    readings: EvaluateReadings
    fairness: FairnessFacts
    safety: SafetyFacts
    unreadable: Mapping[str, str]

    def lacks(self, part: str, words: str) -> str:
        """Why a part is missing: it cannot be read, or, in the given words, it was not measured."""
        wrong = self.unreadable.get(part)
        return f"the facts of {part.partition('.')[0]} cannot be read: {wrong}" if wrong else words


def measured(manifests: Mapping[str, Manifest]) -> Measured:
    """Read the manifests of evaluate, fairness and safety. A part that cannot be read stays None."""
    evaluate, fairness, safety = (manifests[step] for step in ("evaluate", "fairness", "safety"))
    return measured_from(evaluate.facts, evaluate.readings, fairness.facts, safety.facts)


def measured_from(
    evaluate: Mapping[str, Any],
    readings: Mapping[str, Any],
    fairness: Mapping[str, Any],
    safety: Mapping[str, Any],
) -> Measured:
    """The same from stored facts."""
    evaluated, wrong_in_evaluate = readable_parts(evaluate, EvaluateFacts)
    timed, wrong_in_readings = readable_parts(readings, EvaluateReadings)
    compared, wrong_in_fairness = readable_parts(fairness, FairnessFacts)
    probed, wrong_in_safety = readable_parts(safety, SafetyFacts)
    wrong = {"evaluate": wrong_in_evaluate | wrong_in_readings}
    wrong |= {"fairness": wrong_in_fairness, "safety": wrong_in_safety}
    unreadable = {f"{step}.{part}": why for step, parts in wrong.items() for part, why in parts.items()}
    return Measured(evaluated, timed, compared, probed, unreadable)
