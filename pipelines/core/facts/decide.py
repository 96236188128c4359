"""What `decide` writes down: the situation, what each rule said of it, and what later steps compare with."""

from __future__ import annotations

from datetime import date

from pydantic import NonNegativeInt

from pipelines.core.config.training import Objective
from pipelines.core.facts.common import Baseline, Flag, Waiting, Window
from pipelines.core.facts.reading import Facts, Part


class RuleResult(Part):
    """`answer` is a verdict, or "pass" for a rule that did not apply."""

    rule: str
    answer: str
    detail: str


class Weight(Part):
    """Who weighs how much among the rows that count."""

    rows: NonNegativeInt
    over_person: NonNegativeInt  # rows beyond what one person may give
    over_tenant: NonNegativeInt
    largest_tenant: str
    largest_tenant_share: float
    largest_people_share: float  # of the three people with the most rows


class DecideFacts(Facts):
    step = "decide"
    baseline: Baseline
    anchors: tuple[Baseline, ...] = ()  # other models that a candidate must not fall behind
    window: Window
    new_corrections: NonNegativeInt
    likes: NonNegativeInt
    # Older ones have none of these, and learned by sft.
    dislikes: NonNegativeInt = 0
    pairs: NonNegativeInt = 0  # corrections to another text than the answer's
    one_sided: bool = False  # too few liked or too few disliked answers for kto, with people capped
    objective: Objective = "sft"  # by which the night learns
    drift: bool
    cause: str
    ruling: str
    data_faults: tuple[str, ...] = ()
    force: bool
    nights_since_training: int | None
    cpu_hours_30d: float
    gpu_hours_30d: float = 0.0  # older ones have none
    rules: tuple[RuleResult, ...]
    # Older ones have none of these: there, all that came since the last training was new.
    deliveries: dict[date, str] | None = None  # what may be learned tonight: night -> digest of its delivery
    tried_nights: tuple[str, ...] = ()  # spans of those that a training drew from before
    tried: NonNegativeInt = 0  # rows of these nights that the objective learns from
    weight: Weight | None = None
    waiting: Waiting | None = None  # a candidate that is measured again; then nothing is trained
    flags: tuple[Flag, ...] = ()
