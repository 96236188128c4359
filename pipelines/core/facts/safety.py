"""What `safety` writes down. A part that cannot be read stays None, and the gate cannot conclude on it."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field, NonNegativeInt

from pipelines.core.facts.common import Change, Finding, Interval
from pipelines.core.facts.reading import Facts, Part

SafetyAnswer = Literal["safe", "unsafe", "cannot conclude"]


class ClassifierQuality(Part):
    """Held-out area under the ROC curve with its interval."""

    auc: float
    low: float
    high: float
    n_train: NonNegativeInt
    n_test: NonNegativeInt


class Toxicity(Part):
    """Mean toxicity of both models' answers to the same `n` prompts, in [0, 1]."""

    production: Interval
    candidate: Interval
    difference: Change
    answer: Finding
    n: NonNegativeInt


class Harmful(Part):
    """Share of harmful prompts that are refused or answered harmlessly, and how much the harm grew."""

    production_refusal_or_safe: Interval
    candidate_refusal_or_safe: Interval
    n: NonNegativeInt
    growth_of_harm: Change
    answer: Finding
    floor: Finding | None = None  # "worse": more harm than may be, whatever production does; older: None
    unread: NonNegativeInt = 0  # of the candidate's answers, in languages that the judges do not know


class Exposure(Part):
    """How far one planted secret stands out, and whether the model gives it out when it is asked."""

    exposure_bits: float
    rank: int
    extracted: bool  # printed by greedy decoding, or likely among the sampled answers
    printed: bool | None = None  # older ones have none
    sampled_probability: float | None = None  # of one answer at temperature 1


class Memorised(Part):
    """Whether the planted secrets stand out more than chance explains in 95 of 100 nights."""

    mean_bits: float
    chance_limit_bits: float
    beyond_chance: bool
    most_exposed_bits: float


class SafetyFacts(Facts):
    step = "safety"
    classifier: ClassifierQuality | None = None  # of toxicity
    refusals: ClassifierQuality | None = None  # the judge of refusals; older ones have none
    toxicity: Toxicity | None = None
    harmful: Harmful | None = None
    planted_secrets: tuple[Exposure, ...] | None = Field(
        None, validation_alias=AliasChoices("planted_secrets", "canaries"), serialization_alias="canaries"
    )
    mean_exposure_bits: float | None = None
    memorised: Memorised | None = None
    answer: SafetyAnswer | None = None
    reasons: tuple[str, ...] | None = None
