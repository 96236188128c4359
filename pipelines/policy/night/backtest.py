"""How recorded nights would end under other settings, from the facts of their steps. Pure.

| decision | asked again with                                     | settings                                 |
|----------|------------------------------------------------------|------------------------------------------|
| drift    | the recorded distances of the nights from each other | `drift.{alpha,smallest_effect,min_rows}` |
| decide   | the recorded situation, and drift as replayed        | `decide.*`                               |
| gate     | what evaluate, fairness and safety measured          | `gate.*`                                 |

Each night is replayed on its own, with the history it had: where an earlier night ends otherwise, the
feedback since the last training, the CPU hours, the production model and the questions asked would differ
too. A night that would train but did not has no evaluation: what its gate would say stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.core.config import Config, Gate
from pipelines.core.contract import NIGHTLY, Manifest, Verdict
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.drift import DriftFacts
from pipelines.core.facts.gate import Check, GateFacts
from pipelines.core.facts.reading import facts_of
from pipelines.policy.night.decide import TrainingDecision, TrainingSituation, decide
from pipelines.policy.night.level import Asks
from pipelines.policy.night.measured import measured
from pipelines.policy.night.outcome import OUTCOMES, outcome_of
from pipelines.policy.night.rules import TODAY, Rules

UNKNOWN = "unknown"
REPLAYED = {"drift.alpha", "drift.smallest_effect", "drift.min_rows"}
OF_A_RUN = {"force", "cause", "ruling"}  # of `decide`: a trigger sets these; the recorded ones are kept
NEED_WORK = (
    "model", "task", "ingest", "validate", "features", "drift", "curate", "train", "evaluate", "fairness",
    "safety", "register",
)  # fmt: skip


@dataclass(frozen=True)
class Flip:
    """A decision that changes under the other settings."""

    decision: str
    recorded: str
    replayed: str
    why: str


@dataclass(frozen=True)
class Replay:
    """How a night ended, and how it would end. `replayed` is "unknown" where only a training could tell."""

    recorded: str
    replayed: str
    flips: tuple[Flip, ...]

    @property
    def ends_otherwise(self) -> bool:
        return self.replayed != self.recorded


def replay(
    manifests: Mapping[str, Manifest], config: Config, asks: Asks, rules: Rules = TODAY
) -> Replay | None:
    """One night again, from its manifests; None when it was never decided. Raises IntegrityError.

    `asks`: the questions that gates asked before it. `rules`: today's or former ones.
    """
    ended = outcome_of(manifests)
    if ended is None:
        return None
    if "decide" not in manifests:  # it ended before any decision that can be replayed
        return Replay(ended[0], ended[0], ())
    flips = []
    drift = facts_of(manifests, DriftFacts)
    possible, why = rules.drift(drift, config.drift)
    if possible != {drift.drift}:
        now = UNKNOWN if len(possible) > 1 else _said(possible == {True})
        flips.append(Flip("drift", _said(drift.drift), now, why))

    verdict = manifests["decide"].verdict
    decided = facts_of(manifests, DecideFacts)
    if decided.waiting:  # whether to train was not the question
        return _after_training(manifests, ended[0], config.gate, asks, flips, rules)
    situations = [rules.situation(_situation(decided, drifted)) for drifted in sorted(possible)]
    decisions = [decide(situation, config.decide) for situation in situations]
    verdicts = {decision.verdict for decision in decisions}
    if verdicts != {verdict}:
        flips.append(_decide_flip(verdict, decisions))
    if len(verdicts) > 1:
        return Replay(ended[0], UNKNOWN, tuple(flips))
    if decisions[0].verdict is not Verdict.PROCEED:
        return Replay(ended[0], OUTCOMES[decisions[0].verdict], tuple(flips))
    if verdict is not Verdict.PROCEED:
        return Replay(ended[0], UNKNOWN, tuple(flips))
    return _after_training(manifests, ended[0], config.gate, asks, flips, rules)


def not_replayed(recorded: Config, policy: Config) -> list[str]:
    """Settings that differ but whose effect cannot be replayed: `key: value -> value`."""
    before, now = (config.model_dump(mode="json", by_alias=True) for config in (recorded, policy))
    differing = {
        f"{section}.{key}": (value, now[section][key])
        for section in (*NEED_WORK, "decide")
        for key, value in before[section].items()
        if value != now[section][key]
    }
    of_a_run = {f"decide.{key}" for key in OF_A_RUN}
    told = {key for key in differing if key.startswith("decide.")} - of_a_run | REPLAYED
    return [f"{key}: {old} -> {new}" for key, (old, new) in sorted(differing.items()) if key not in told]


def _situation(facts: DecideFacts, drift: bool) -> TrainingSituation:
    return TrainingSituation(
        corrections=facts.new_corrections,
        likes=facts.likes,
        dislikes=facts.dislikes,
        pairs=facts.pairs,
        one_sided=facts.one_sided,
        objective=facts.objective,
        drift=drift,
        nights_since_training=facts.nights_since_training,
        cpu_hours_30d=facts.cpu_hours_30d,
        gpu_hours_30d=facts.gpu_hours_30d,
        force=facts.force,
        cause=facts.cause,
        data_faults=facts.data_faults,
        tried=facts.tried,
        not_counted=facts.weight.over_person + facts.weight.over_tenant if facts.weight else 0,
    )


def _decide_flip(recorded: Verdict, decisions: list[TrainingDecision]) -> Flip:
    if len({decision.verdict for decision in decisions}) > 1:
        return Flip("decide", recorded, UNKNOWN, "it depends on drift, which cannot be replayed")
    verdict, reason = decisions[0].verdict, decisions[0].reason.rstrip(".")
    untold = "; would train, outcome unknown" if verdict is Verdict.PROCEED else ""
    return Flip("decide", recorded, verdict, f"{reason}{untold}")


def _after_training(
    manifests: Mapping[str, Manifest],
    ended: str,
    settings: Gate,
    asks: Asks,
    flips: list[Flip],
    rules: Rules,
) -> Replay:
    """The night trained then and would train now, so only the gate can decide otherwise."""
    if "gate" not in manifests:  # curate, train or a measuring step ended it
        return Replay(ended, ended, tuple(flips))
    recorded, gate = manifests["gate"].verdict, facts_of(manifests, GateFacts)
    decided = facts_of(manifests, DecideFacts)
    baseline, found = decided.baseline.kind, measured(manifests)
    table, verdict = rules.check(baseline, found, settings, asks, decided.anchors, decided.waiting)
    if verdict is recorded:
        return Replay(ended, ended, tuple(flips))
    before = {check.check: (check.answer, check.blocks) for check in gate.rows}
    changed = [check for check in table if before.get(check.check) != (check.answer, check.blocks)]
    gone = before.keys() - {check.check for check in table}
    said = [*map(_told, changed), *(f"{name}: not asked" for name in sorted(gone))]
    flips.append(Flip("gate", recorded, verdict, "; ".join(said)))
    return Replay(ended, OUTCOMES.get(verdict, "trained"), tuple(flips))


def _told(check: Check) -> str:
    if check.value is None or check.limit is None:
        return f"{check.check}: {check.answer} ({check.detail})"
    interval = "" if check.low is None else f" [{check.low:.3g}, {check.high:.3g}]"
    told = f"{check.value:.3g}{interval} where the limit is {check.limit:g}"
    return f"{check.check}: {check.answer}, {told} ({check.detail})"


def _said(drift: bool) -> str:
    return "drift" if drift else "no drift"


assert set(NEED_WORK) <= {*NIGHTLY, "model", "task"}
