"""Who answers users: the route table, the moves from one to the next, and which side a person is on. Pure.

The newest row of the ledger's `promotions` holds the whole table, so one append moves everything at once.
MLflow's aliases follow it; where they differ the ledger is right.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.core.errors import InputError

Side = Literal["production", "canary"]


@dataclass(frozen=True)
class Adapter:
    """A registered version of a LoRA adapter, bound to its content by its digest."""

    version: str
    digest: str


@dataclass(frozen=True)
class Route:
    """`production` None means that the bare base model answers. A rollout has a shadow or a canary."""

    production: Adapter | None = None
    canary: Adapter | None = None
    canary_weight: float = 0.0  # share of people, 0 to 1
    shadow: Adapter | None = None
    previous: Adapter | None = None  # what a rollback goes back to
    has_previous: bool = False  # tells a previous bare base (None) from no previous at all

    @property
    def in_rollout(self) -> Adapter | None:
        return self.canary or self.shadow


def route_from(fields: Mapping[str, Any]) -> Route:
    """The route that `dataclasses.asdict` turned into a dictionary."""
    adapters = {
        name: Adapter(**fields[name]) if fields[name] else None
        for name in ("production", "canary", "shadow", "previous")
    }
    return Route(**{**fields, **adapters})


def to_shadow(route: Route, candidate: Adapter) -> Route:
    """The candidate also answers what production answers, and no user sees it.

    Raises InputError while another rollout is under way.
    """
    running = route.in_rollout
    if running and running != candidate:
        raise InputError(
            f"Version {candidate.version} cannot start: version {running.version} is in rollout.",
            "Let that rollout end, or abort it.",
        )
    return replace(route, shadow=candidate, canary=None, canary_weight=0.0)


def to_canary(route: Route, candidate: Adapter, weight: float) -> Route:
    """The candidate answers a share of people."""
    _require_in_rollout(route, candidate)
    return replace(route, shadow=None, canary=candidate, canary_weight=weight)


def to_production(route: Route, candidate: Adapter) -> Route:
    """The candidate answers everyone; what answered before is kept as `previous`."""
    if route.production == candidate and route.in_rollout is None:
        return route
    _require_in_rollout(route, candidate)
    return Route(production=candidate, previous=route.production, has_previous=True)


def aborted(route: Route) -> Route:
    """The rollout ends and production stays. Doing it twice changes nothing."""
    return replace(route, shadow=None, canary=None, canary_weight=0.0)


def rolled_back(route: Route) -> Route:
    """What answered before answers everyone again; a rollout ends too. Doing it twice changes nothing."""
    route = aborted(route)
    if not route.has_previous:
        return route
    return Route(production=route.previous)


def is_forward(before: Route, after: Route) -> bool:
    """Whether a move gives an adapter more than it had: more people, or a shadow's copies.

    What answered everyone, now or before, may do so again: that is a rollback, or the end of a rollout.
    """
    proven = {before.production, *([before.previous] if before.has_previous else [])}
    grows = after.canary != before.canary or after.canary_weight > before.canary_weight
    is_new_shadow = after.shadow is not None and after.shadow not in (before.shadow, before.canary)
    return after.production not in proven or (after.canary is not None and grows) or is_new_shadow


def side(route: Route, key: bytes, tenant: str, subject: str) -> Side:
    """Which side of the canary a person is on.

    A person stays on that side. A growing weight keeps those who are in; another canary draws other people.
    """
    if route.canary is None:
        return "production"
    placed = place(key, tenant, subject, route.canary.digest)
    return "canary" if placed < route.canary_weight else "production"


def place(key: bytes, tenant: str, subject: str, digest: str) -> float:
    """A person's place on [0, 1) for the canary with this digest: a keyed hash, secret without the key."""
    person = json.dumps([tenant, subject, digest]).encode()
    drawn = hmac.new(key, person, hashlib.sha256).digest()
    return int.from_bytes(drawn[:8], "big") / 2**64


def _require_in_rollout(route: Route, candidate: Adapter) -> None:
    if route.in_rollout != candidate:
        running = route.in_rollout
        found = f"version {running.version} ({running.digest[:12]})" if running else "no adapter"
        raise InputError(
            f"Version {candidate.version} ({candidate.digest[:12]}) is not in rollout; {found} is.",
            "Start `promote` again: the adapter was replaced, or its rollout ended.",
        )
