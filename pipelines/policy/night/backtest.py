"""How recorded nights would end under other settings, from what their steps wrote down. Pure.

| decision | asked again with                                             | settings                        |
|----------|--------------------------------------------------------------|---------------------------------|
| drift    | the recorded p-values                                        | `drift.alpha`, `drift.min_rows` |
| decide   | the recorded situation, and drift as replayed                | `decide.*`                      |
| gate     | what evaluate, fairness and safety measured that night       | `gate.*`                        |

Each night is replayed on its own, with the history it had: where an earlier night ends otherwise, the
feedback since the last training, the CPU hours, the production model and the questions asked would differ
too. A night that would train but did not has no evaluation: what its gate would say stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.core.config import Config, Gate
from pipelines.core.config import Drift as DriftSettings
from pipelines.core.contract import NIGHTLY, Manifest, Verdict
from pipelines.policy.night import drift as drift_policy
from pipelines.policy.night import gate as gate_policy
from pipelines.policy.night.decide import Answer, Situation, decide
from pipelines.policy.night.gate import Row
from pipelines.policy.night.outcome import OUTCOMES, outcome_of
from pipelines.policy.stats.permutation import permutations_needed

UNKNOWN = "unknown"
REPLAYED = {"drift.alpha", "drift.min_rows"}
OF_A_RUN = {"force", "cause", "ruling"}  # of `decide`: a trigger sets these; the recorded ones are kept
NEED_WORK = (
    "model", "task", "ingest", "validate", "features", "drift", "curate", "train", "evaluate", "fairness",
    "safety", "register",
)  # fmt: skip


@dataclass(frozen=True)
class Flip:
    """A decision that is another one under the other settings."""

    decision: str
    recorded: str
    replayed: str
    why: str


@dataclass(frozen=True)
class Replay:
    """How a night ended and how it would; `replayed` is "unknown" where only a training could tell."""

    recorded: str
    replayed: str
    flips: tuple[Flip, ...]

    @property
    def ends_otherwise(self) -> bool:
        return self.replayed != self.recorded


def replay(manifests: Mapping[str, Manifest], config: Config) -> Replay | None:
    """One night again, from its manifests; None when it was never decided."""
    ended = outcome_of(manifests)
    if ended is None:
        return None
    if "decide" not in manifests:  # it ended before any decision that can be replayed
        return Replay(ended[0], ended[0], ())
    flips = []
    before = bool(manifests["drift"].facts["drift"])
    possible, why = _drift(manifests["drift"].facts, config.drift)
    if possible != {before}:
        now = UNKNOWN if len(possible) > 1 else _said(possible == {True})
        flips.append(Flip("drift", _said(before), now, why))

    verdict = manifests["decide"].verdict
    answers = [
        decide(_situation(manifests["decide"].facts, drift), config.decide) for drift in sorted(possible)
    ]
    verdicts = {answer.verdict for answer in answers}
    if verdicts != {verdict}:
        flips.append(_decide_flip(verdict, answers))
    if len(verdicts) > 1:
        return Replay(ended[0], UNKNOWN, tuple(flips))
    if answers[0].verdict is not Verdict.PROCEED:
        return Replay(ended[0], OUTCOMES[answers[0].verdict], tuple(flips))
    if verdict is not Verdict.PROCEED:
        return Replay(ended[0], UNKNOWN, tuple(flips))
    return _after_training(manifests, ended[0], config.gate, flips)


def not_replayed(recorded: Config, policy: Config) -> list[str]:
    """Settings that differ but whose effect no record tells: `key: value -> value`."""
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


def _drift(facts: Mapping[str, Any], settings: DriftSettings) -> tuple[set[bool], str]:
    """Which answers the recorded tests allow under these settings, and why."""
    recorded, columns = bool(facts["drift"]), facts["columns"]
    rows = min(facts["reference"]["rows"], facts["tonight"]["rows"])
    if not facts["reference"]["nights"]:
        return {recorded}, "there was nothing to compare with"
    if rows < settings.min_rows:
        return {False}, f"{rows} rows are fewer than {settings.min_rows}"
    if not columns:
        return {True, False}, f"{rows} rows would be enough now, but no test was made of them"
    if settings.alpha == facts["alpha"]:
        return {recorded}, "the same level"
    tests = [
        drift_policy.ColumnTest(
            *(column[name] for name in ("column", "about", "method", "p_value", "effect"))
        )
        for column in columns
    ]
    drifted, judged = drift_policy.drifted_columns(tests, settings.alpha, facts["same_model"])
    needed = permutations_needed(0, len(columns), settings.alpha)
    if recorded and not drifted and needed > facts["permutations"]:
        return {
            True,
            False,
        }, f"{facts['permutations']} relabellings cannot tell at the level {settings.alpha:g}"
    first = next((row for row in judged if row["drifted"]), judged[0])
    return {
        drifted
    }, f"{first['column']}: adjusted p {first['p_adjusted']:.3g} at the level {settings.alpha:g}"


def _situation(facts: Mapping[str, Any], drift: bool) -> Situation:
    return Situation(
        corrections=facts["new_corrections"],
        likes=facts["likes"],
        drift=drift,
        nights_since_training=facts["nights_since_training"],
        cpu_hours_30d=facts["cpu_hours_30d"],
        force=facts["force"],
        cause=facts["cause"],
        data_faults=tuple(facts.get("data_faults", ())),
    )


def _decide_flip(recorded: Verdict, answers: list[Answer]) -> Flip:
    if len({answer.verdict for answer in answers}) > 1:
        return Flip("decide", recorded, UNKNOWN, "it depends on drift, which cannot be replayed")
    untold = "; would train, outcome unknown" if answers[0].verdict is Verdict.PROCEED else ""
    return Flip("decide", recorded, answers[0].verdict, f"{answers[0].reason.rstrip('.')}{untold}")


def _after_training(
    manifests: Mapping[str, Manifest], ended: str, settings: Gate, flips: list[Flip]
) -> Replay:
    """The night trained, then and now: only the gate can answer otherwise."""
    if "gate" not in manifests:  # curate, train or a measuring step ended it
        return Replay(ended, ended, tuple(flips))
    gate, evaluate = manifests["gate"], manifests["evaluate"]
    rows, verdict = gate_policy.judge(
        manifests["decide"].facts["baseline"],
        evaluate.facts | evaluate.readings,
        manifests["fairness"].facts,
        manifests["safety"].facts,
        settings,
        gate.facts["asks_before"],
    )
    if verdict is gate.verdict:
        return Replay(ended, ended, tuple(flips))
    before = {row["check"]: (row["answer"], row["blocks"]) for row in gate.facts["rows"]}
    changed = [row for row in rows if before.get(row.check) != (row.answer, row.blocks)]
    why = "; ".join(_told(row) for row in changed)
    flips.append(Flip("gate", gate.verdict, verdict, why))
    return Replay(ended, OUTCOMES.get(verdict, "trained"), tuple(flips))


def _told(row: Row) -> str:
    if row.value is None or row.limit is None:
        return f"{row.check}: {row.answer} ({row.detail})"
    interval = "" if row.low is None else f" [{row.low:.3g}, {row.high:.3g}]"
    told = f"{row.value:.3g}{interval} where the limit is {row.limit:g}"
    return f"{row.check}: {row.answer}, {told} ({row.detail})"


def _said(drift: bool) -> str:
    return "drift" if drift else "no drift"


assert set(NEED_WORK) <= {*NIGHTLY, "model", "task"}
