"""Is training worth it tonight?

The rules are asked in this order. The first that applies decides.

| rule      | applies when                                                             | answer  |
|-----------|--------------------------------------------------------------------------|---------|
| material  | nothing new to learn from, and nobody forced a training; kto: one side   | skip    |
| force     | a person asked for training (`decide.force`)                             | proceed |
| fault     | an alert about broken data fires                                         | hold    |
| budget    | the last 30 days used `budget_cpu_hours_30d` or `budget_gpu_hours_30d`   | hold    |
| cool_down | the last training was `cool_down_nights` nights ago, or fewer            | skip    |
| drift     | drift or an alert, and at least `min_corrections_on_drift` rows count    | proceed |
| volume    | at least `min_corrections` rows count                                    | proceed |
| otherwise | nothing above applied                                                    | skip    |

Rows count that the night's objective learns from (see `preferences`), such as corrections and liked answers,
and that no adapter in production has learned, so that thin nights add up. Some are new, and some were tried:
a training ran on them, and its adapter did not reach production. Tried rows count again together with new
ones; alone they need a force (see `row_states`). A person and a tenant count up to a cap (see `caps`).
Even a forced night needs material. Force goes before faults and budget, because a person asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from pipelines.core.config import Decide
from pipelines.core.config.training import Objective
from pipelines.core.contract import Verdict
from pipelines.core.facts.decide import RuleResult
from pipelines.policy.night.preferences import LEAST_SHARE, learnable

ALERT = "alert:"
ROWS: dict[Objective, str] = {"sft": "labelled rows", "kto": "rated answers", "dpo": "corrected answers"}
NONE: dict[Objective, str] = {
    "sft": "There is no correction and no liked answer to learn from.",
    "kto": "There is no rated answer to learn from.",
    "dpo": "There is no answer with a correction to learn from.",
}


@dataclass(frozen=True)
class TrainingSituation:
    """What is known on the night. `nights_since_training` is None before the first training.

    `corrections`, `likes`, `dislikes` and `pairs` that no adapter in production has learned. Of those that
    the objective learns from, a training ran on `tried` before, and `not_counted` are more than one person or
    one tenant may give.
    """

    corrections: int
    likes: int
    drift: bool
    nights_since_training: int | None
    cpu_hours_30d: float
    force: bool
    cause: str  # schedule | manual | alert:<name>
    data_faults: tuple[str, ...] = ()  # alerts about broken data that fire
    gpu_hours_30d: float = 0.0
    tried: int = 0
    not_counted: int = 0
    dislikes: int = 0
    pairs: int = 0
    one_sided: bool = False  # too few liked or too few disliked answers for kto
    objective: Objective = "sft"

    @property
    def learnable(self) -> int:
        return learnable(asdict(self), self.objective)

    @property
    def counted(self) -> int:
        return self.learnable - self.not_counted

    @property
    def counted_words(self) -> str:
        of_all = f" count, of {self.learnable}" if self.not_counted else ""
        return f"{self.counted} {ROWS[self.objective]}{of_all}"

    @property
    def material_words(self) -> str:
        if self.objective == "dpo":
            return f"{self.pairs} corrections with the answers that they corrected"
        if self.objective == "kto":
            return f"{self.corrections} corrections, {self.likes} liked and {self.dislikes} disliked answers"
        return f"{self.corrections} corrections and {self.likes} liked answers"


@dataclass(frozen=True)
class TrainingDecision:
    """The verdict, its reason, and what each rule said down to the one that decided."""

    verdict: Verdict
    reason: str
    rules: tuple[RuleResult, ...]


# A rule returns a verdict, or None where it does not apply, and a sentence for people.
Rule = Callable[[TrainingSituation, Decide], tuple[Verdict | None, str]]


def decide(situation: TrainingSituation, limits: Decide) -> TrainingDecision:
    """Ask the rules of the table in order."""
    said = []
    for name, rule in RULES.items():
        verdict, detail = rule(situation, limits)
        said.append(RuleResult(rule=name, answer=str(verdict or "pass"), detail=detail))
        if verdict:
            return TrainingDecision(verdict, detail, tuple(said))
    raise AssertionError("the last rule always decides")


def _material(now: TrainingSituation, limits: Decide) -> tuple[Verdict | None, str]:
    if not now.learnable:
        return Verdict.SKIP, NONE[now.objective]
    if now.objective == "kto" and now.one_sided:
        said = f"{now.material_words}: kto needs liked and disliked ones, at least {LEAST_SHARE:.0%} of each."
        return Verdict.SKIP, f"{said} They stay for later."
    if now.learnable > now.tried:
        tried = f"; {now.tried} of them were tried before" * bool(now.tried)
        return None, f"{now.material_words}{tried}."
    said = (
        f"No {ROWS[now.objective].removesuffix('s')} is new: a training ran on all {now.tried}, and its"
        " adapter is not in production."
    )
    if now.force:
        return None, said
    return Verdict.SKIP, f"{said} They count again together with new ones, or when a training is forced."


def _force(now: TrainingSituation, limits: Decide) -> tuple[Verdict | None, str]:
    if now.force:
        return Verdict.PROCEED, f"Training was forced (cause: {now.cause})."
    return None, "Nobody forced a training."


def _fault(now: TrainingSituation, limits: Decide) -> tuple[Verdict | None, str]:
    if not now.data_faults:
        return None, "No alert about broken data fires."
    names = ", ".join(now.data_faults)
    return Verdict.HOLD, f"Broken data is reported ({names}): mend it, then count up `attempt`, or force."


def _budget(now: TrainingSituation, limits: Decide) -> tuple[Verdict | None, str]:
    """Nights that broke count too."""
    used = {
        "cpu": (now.cpu_hours_30d, limits.budget_cpu_hours_30d),
        "gpu": (now.gpu_hours_30d, limits.budget_gpu_hours_30d),
    }
    words = " and ".join(
        f"{hours:.1f} of {most:.1f} {kind.upper()} hours" for kind, (hours, most) in used.items()
    )
    over = [kind for kind, (hours, most) in used.items() if hours >= most]
    if not over:
        return None, f"{words} used in 30 days."
    return (
        Verdict.HOLD,
        f"{words} used in 30 days: raise decide.budget_{over[0]}_hours_30d, or force a training.",
    )


def _cool_down(now: TrainingSituation, limits: Decide) -> tuple[Verdict | None, str]:
    since = now.nights_since_training
    if since is None:
        return None, "Nothing was trained before."
    said = f"The last training was {since} night{'s' * (since != 1)} ago"
    if since > limits.cool_down_nights or not limits.cool_down_nights:
        return None, f"{said}; the cool-down is {limits.cool_down_nights}."
    return Verdict.SKIP, f"{said}, within the cool-down of {limits.cool_down_nights}."


def _drift(now: TrainingSituation, limits: Decide) -> tuple[Verdict | None, str]:
    alert = now.cause.startswith(ALERT)
    if not now.drift and not alert:
        return None, "No drift and no alert."
    causes = ["drift"] * now.drift + [f"the alert {now.cause.removeprefix(ALERT)!r}"] * alert
    why = " and ".join(causes)
    why = why[0].upper() + why[1:]  # an alert's name keeps its capitals
    enough = limits.min_corrections_on_drift
    if now.counted < enough:
        return None, f"{why}, but {now.counted_words}; {enough} are needed."
    return Verdict.PROCEED, f"{why}, with {now.counted_words} ({enough} are enough then)."


def _volume(now: TrainingSituation, limits: Decide) -> tuple[Verdict | None, str]:
    compared = f"{now.counted_words}; {limits.min_corrections} are enough"
    return (Verdict.PROCEED if now.counted >= limits.min_corrections else None), f"{compared}."


def _otherwise(now: TrainingSituation, limits: Decide) -> tuple[Verdict | None, str]:
    return (
        Verdict.SKIP,
        f"{now.counted_words}: too few ({limits.min_corrections} without drift, "
        f"{limits.min_corrections_on_drift} with it); they stay for later.",
    )


RULES: dict[str, Rule] = {
    "material": _material,
    "force": _force,
    "fault": _fault,
    "budget": _budget,
    "cool_down": _cool_down,
    "drift": _drift,
    "volume": _volume,
    "otherwise": _otherwise,
}
