"""What `decide` writes down: the situation, what each rule said of it, and what later steps compare with."""

from __future__ import annotations

from pydantic import NonNegativeInt

from pipelines.core.facts.common import Baseline, Window
from pipelines.core.facts.reading import Facts, Part


class RuleResult(Part):
    """`answer` is a verdict, or "pass" for a rule that did not apply."""

    rule: str
    answer: str
    detail: str


class DecideFacts(Facts):
    step = "decide"
    baseline: Baseline
    window: Window
    new_corrections: NonNegativeInt
    likes: NonNegativeInt
    drift: bool
    cause: str
    ruling: str
    data_faults: tuple[str, ...] = ()
    force: bool
    nights_since_training: int | None
    cpu_hours_30d: float
    gpu_hours_30d: float = 0.0  # older ones have none
    rules: tuple[RuleResult, ...]
