"""The rules that a backtest can ask: today's, and those of version 0.1. Pure.

| rule | version 0.1 | today |
|---|---|---|
| drift | rows are independent; today's records have no such test: unknown | nights against nights |
| decide | feedback is new until a training ran on it; no caps | tried rows count again; caps |
| gate: improvement | a level that falls with each question to the suite | an allowance a year |
| gate: waiting | none: what is not clear is held | fresh rows of the next nights |
| gate: fairness | what is not clear is shown | few groups may be without power |
| gate: forgetting | only rows whose right answer is known | bounds over what people did not tell |
| gate: anchors | none | the base, and a version that people chose |
| gate: instructions | none | those that a program checks, against production and anchors |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipelines.core.config import Drift, Gate
from pipelines.core.contract import Verdict
from pipelines.core.facts.common import Baseline, Kind, Waiting
from pipelines.core.facts.drift import DriftFacts
from pipelines.core.facts.evaluate import Disliked
from pipelines.core.facts.gate import Check
from pipelines.policy.night.decide import TrainingSituation
from pipelines.policy.night.drift_replay import possible_drift
from pipelines.policy.night.gate import check_candidate, verdict_of
from pipelines.policy.night.level import Asks
from pipelines.policy.night.measured import Measured

Table = tuple[list[Check], Verdict]


@dataclass(frozen=True)
class Rules:
    """`drift`: the possible findings, and why. `situation`: what decide is asked. `check`: the gate."""

    drift: Callable[[DriftFacts, Drift], tuple[set[bool], str]]
    situation: Callable[[TrainingSituation], TrainingSituation]
    check: Callable[[Kind, Measured, Gate, Asks, Sequence[Baseline], Waiting | None], Table]


def _drift_0_1(facts: DriftFacts, settings: Drift) -> tuple[set[bool], str]:
    if facts.rule is None or not facts.columns:
        return possible_drift(facts, settings)
    return {True, False}, "rows were taken as independent then, and were not tested so on this night"


def _situation_0_1(now: TrainingSituation) -> TrainingSituation:
    likes = max(0, now.likes - max(0, now.tried - now.corrections))
    return replace(now, corrections=max(0, now.corrections - now.tried), likes=likes, tried=0, not_counted=0)


def _check_0_1(
    pinned: Kind,
    found: Measured,
    settings: Gate,
    asks: Asks,
    _anchors: Sequence[Baseline],
    _waiting: Waiting | None,
) -> Table:
    forgetting = found.evaluate.forgetting
    told = forgetting and forgetting.model_copy(update={"disliked": Disliked()})
    evaluate = found.evaluate.model_copy(update={"forgetting": told, "instructions": None})
    rules = {"error_rate": "familywise", "rating_odds": 1.0, "max_nights_waiting": 0}
    then = settings.model_copy(update=rules)
    table, _ = check_candidate(pinned, replace(found, evaluate=evaluate), then, asks)
    shown = {"blocks": settings.hold_on_unclear_fairness}
    table = [row.model_copy(update=shown) if row.check == "fairness" else row for row in table]
    return table, verdict_of(table)


TODAY = Rules(possible_drift, lambda now: now, check_candidate)
FORMER = {"0.1": Rules(_drift_0_1, _situation_0_1, _check_0_1)}
