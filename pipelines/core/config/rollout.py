"""From candidate to production: the stages of a rollout and their limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.core.config.base import Count, Odds, OpenShare, OpenShareOrOne, Positive, Section, Share
from pipelines.core.errors import ConfigError
from pipelines.core.traffic_split import Route


class Stage(Section):
    """`[[promote.stages]]`: with `weight` 0 it is the shadow, and users see nothing of the candidate."""

    name: Annotated[str, Field(pattern="^[a-z0-9_]+$")]  # in the ledger, and of Airflow's task
    weight: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # share of people who get the candidate
    bake_s: Count = 3_600  # the next stage begins no sooner
    max_s: Positive = 86_400  # without a decision by then the rollout ends: not enough evidence
    min_answers: Positive = 100  # of the candidate, since users (or the shadow) first got it
    min_rated: Count = 0  # of those, rated by users
    margin: OpenShare = 0.1  # the candidate's liked share may lie less than this below production's
    guards: tuple[Literal["errors", "refusals", "latency"], ...] = (  # a rise of any of these aborts
        "errors",
        "refusals",
        "latency",
    )


class Promote(Section):
    """`[promote]`: `alpha_*` hold for a whole rollout, however often it is analysed."""

    stages: tuple[Stage, ...] = (  # in this order
        # A shadow's answers wait for idle moments, so their latency says nothing.
        Stage(name="shadow", guards=("errors", "refusals")),
        Stage(name="canary_05", weight=0.05, min_answers=100, min_rated=30, margin=0.25),
        Stage(name="canary_25", weight=0.25, max_s=259_200, min_answers=300, min_rated=100),
    )
    # Between two analyses. Sooner, Airflow may still be noting that the task put itself back.
    interval_s: Annotated[int, Field(ge=5)] = 60
    alpha_promote: OpenShare = 0.05  # a candidate that is worse by the margin gets to production
    alpha_abort: OpenShare = 0.05  # a candidate that is no worse is called worse
    max_error_rise: Share = 0.01  # share of the candidate's answers over production's
    max_refusal_rise: Share = 0.02  # the same, of answers that refuse
    max_latency_ratio: Annotated[float, Field(ge=1)] = 1.5  # slow: over this many times production's p95
    max_slow_rise: Share = 0.05  # share of slow answers over production's
    # How many times likelier a shadow's pair is rated if production's answer is the better one than if the
    # candidate's is, or the reverse. "Worse" holds up to this factor; 1: rating has nothing to do with it.
    rating_odds: Odds = 2.0
    answers_per_person: Count = 1  # rated answers of a person that count; 0 counts all as independent
    max_tenant_share: OpenShareOrOne = 0.5  # of the evidence, once two tenants have traffic; 1 is no limit
    # The share of clean rollouts, at most, that wait because without one tenant, or without three people, the
    # analysis would say something else; 0: it only tells so.
    alpha_influence: Share = 0.02
    max_dropped_share: Share = 0.5  # of a shadow's copies; the stage waits while more are dropped
    approval: bool = True  # a person agrees before users meet the candidate
    second_person: bool = False  # and another one
    approval_timeout_s: Positive = 86_400  # no answer by then means no promotion

    @model_validator(mode="after")
    def _in_order(self) -> Promote:
        weights = [stage.weight for stage in self.stages]
        if len(weights) < 2 or weights[0] != 0 or weights != sorted(set(weights)):
            raise ValueError(
                "stages: a shadow (weight 0) comes first, then one or more stages, each with a larger weight"
            )
        if self.stages[0].min_rated:
            raise ValueError("stages: users see nothing of a shadow, so its min_rated has to be 0")
        if len({stage.name for stage in self.stages}) < len(weights):
            raise ValueError("stages: two have the same name")
        return self

    def stage(self, name: str) -> Stage:
        """Raises ConfigError for an unknown name."""
        found = next((stage for stage in self.stages if stage.name == name), None)
        if found is None:
            known = ", ".join(stage.name for stage in self.stages)
            raise ConfigError(f"There is no stage {name!r}.", f"The configuration's [promote] has {known}.")
        return found

    def stage_of(self, route: Route) -> Stage | None:
        """The stage that a route is in; None without a rollout, or when no stage has its weight."""
        if route.in_rollout is None:
            return None
        weight = route.canary_weight if route.canary else 0.0
        return next((stage for stage in self.stages if stage.weight == weight), None)
