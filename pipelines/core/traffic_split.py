"""Who answers users: the route table, and the moves from one to the next. Pure.

The newest row of the ledger's `promotions` holds the whole table, so one append moves everything at once.
MLflow's aliases follow it; where they differ the ledger is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipelines.core.errors import InputError


@dataclass(frozen=True)
class Adapter:
    """A registered version, bound to its content."""

    version: str
    digest: str


@dataclass(frozen=True)
class Route:
    """`production` None means that the bare base model answers. A rollout has a shadow or a canary."""

    production: Adapter | None = None
    canary: Adapter | None = None
    canary_weight: float = 0.0  # share of people, 0 to 1
    shadow: Adapter | None = None
    previous: Adapter | None = None  # what rollback goes back to
    has_previous: bool = False  # tells a previous bare base (None) from no previous at all

    @property
    def in_rollout(self) -> Adapter | None:
        return self.canary or self.shadow


def route_from(fields: Mapping[str, Any]) -> Route:
    """The route that `dataclasses.asdict` took apart."""
    adapters = {
        name: Adapter(**fields[name]) if fields[name] else None
        for name in ("production", "canary", "shadow", "previous")
    }
    return Route(**{**fields, **adapters})


def to_shadow(route: Route, candidate: Adapter) -> Route:
    """Let the candidate answer beside production, unseen. Refused while another rollout runs."""
    if route.in_rollout not in (None, candidate):
        raise InputError(
            "no other rollout under way",
            f"version {route.in_rollout.version} in rollout" if route.in_rollout else "",
            "Let it end, or abort it first.",
        )
    return replace(route, shadow=candidate, canary=None, canary_weight=0.0)


def to_canary(route: Route, candidate: Adapter, weight: float) -> Route:
    """Give the candidate a share of people."""
    _same(route, candidate)
    return replace(route, shadow=None, canary=candidate, canary_weight=weight)


def to_production(route: Route, candidate: Adapter) -> Route:
    """Everyone gets the candidate; what they had is kept as `previous`."""
    if route.production == candidate and route.in_rollout is None:
        return route
    _same(route, candidate)
    return Route(production=candidate, previous=route.production, has_previous=True)


def aborted(route: Route) -> Route:
    """End the rollout; production stays. Doing it twice changes nothing."""
    return replace(route, shadow=None, canary=None, canary_weight=0.0)


def rolled_back(route: Route) -> Route:
    """Everyone gets what answered before. A rollout under way ends as well. Twice changes nothing."""
    route = aborted(route)
    if not route.has_previous:
        return route
    return Route(production=route.previous)


def _same(route: Route, candidate: Adapter) -> None:
    if route.in_rollout != candidate:
        raise InputError(
            f"version {candidate.version} ({candidate.digest[:12]}) in rollout",
            f"{route.in_rollout}",
            "The adapter changed or its rollout ended: start `promote` again.",
        )
