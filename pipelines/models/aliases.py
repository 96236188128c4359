"""MLflow's aliases follow the ledger. The ledger is written first; `reconcile` catches up after a crash.

MLflow takes seconds to load, and is loaded only where a version is looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.core.config import Config
from pipelines.core.traffic_split import Adapter
from pipelines.models import open_registry
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Promotion

if TYPE_CHECKING:
    from pipelines.models.registry import RegisteredAdapter, Registry


def in_production(config: Config) -> RegisteredAdapter | None:
    """The adapter that the ledger says answers users now; None while the bare base model does."""
    production = open_ledger(config).promotion().route.production
    return open_registry(config).version(production.version) if production else None


def reconcile(promotions: Sequence[Promotion], registry: Registry) -> list[str]:
    """Make the aliases agree with the newest move; returns what was changed. Doing it twice is safe.

    `register` sets `candidate` to the newest version. It is removed here once that version's rollout is over.
    Without any move the aliases stay as they are.
    """
    from pipelines.models.registry import CANARY, CANDIDATE, PREVIOUS, PRODUCTION

    if not promotions:
        return []
    route = promotions[-1].route
    changes = []
    wanted = {PRODUCTION: route.production, CANARY: route.canary, PREVIOUS: route.previous}
    for alias, adapter in wanted.items():
        found = _identity(registry.by_alias(alias))
        if adapter is not None and found != adapter:
            registry.point(alias, adapter.version)
            changes.append(f"{alias} -> version {adapter.version}")
        elif adapter is None and found is not None:
            registry.release(alias)
            changes.append(f"{alias} -> none")
    rolled_out = {move.route.in_rollout for move in promotions} - {route.in_rollout}
    if (candidate := _identity(registry.by_alias(CANDIDATE))) and candidate in rolled_out:
        registry.release(CANDIDATE)
        changes.append(f"{CANDIDATE} -> none")
    return changes


def _identity(found: RegisteredAdapter | None) -> Adapter | None:
    return Adapter(found.version, found.digest) if found else None
