"""A route whose adapters are loaded."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.serving.backends import Backend, Backends
from pipelines.core.traffic_split import Adapter, aborted
from pipelines.stores.ledger import Promotion


class Leases:
    """How many requests use a route."""

    def __init__(self) -> None:
        self._count = 0
        self.none = asyncio.Event()
        self.none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        self._count += 1
        self.none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self.none.set()


class LoadedRoute:
    """A route whose adapters are loaded. They stay loaded while a request holds a lease."""

    def __init__(self, promotion: Promotion, backends: Backends, loaded: set[Adapter]) -> None:
        route = promotion.route
        self.number, self.route, self.adapters = promotion.number, route, frozenset(loaded)
        self.production = backends.of(route.production)
        self.canary = backends.of(route.canary) if route.canary else None
        self.shadow = backends.of(route.shadow) if route.shadow else None
        has_previous = route.has_previous and (route.previous is None or route.previous in loaded)
        fallbacks = [self.production, *([backends.of(route.previous)] if has_previous else [])]
        self.fallbacks: tuple[Backend, ...] = (*fallbacks, backends.of(None))
        self.leases = Leases()

    def in_order(self, first: Backend) -> list[Backend]:
        """The backends to try: the chosen one, then production, the previous one, the bare base."""
        return list(dict.fromkeys((first, *self.fallbacks)))

    @contextmanager
    def lease(self) -> Iterator[LoadedRoute]:
        """Keep the adapters loaded until the block ends."""
        with self.leases.one():
            yield self

    def without_rollout(self) -> LoadedRoute:
        """The same route and leases; nobody gets the adapter in rollout."""
        found = copy.copy(self)
        found.route, found.canary, found.shadow = aborted(self.route), None, None
        return found
