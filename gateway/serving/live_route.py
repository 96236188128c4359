"""Follows the ledger's route: loads, warms and proves adapters, switches to them, unloads the others."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy.exc
from opentelemetry.trace import Tracer

from gateway.serving.backends import Backend, Backends
from gateway.serving.probes import Probes
from pipelines.core.errors import NightshiftError
from pipelines.core.traffic_split import Adapter, Route
from pipelines.observability.tracing import span_below
from pipelines.stores.ledger import Ledger, Promotion

# What a row raises that another version of Nightshift wrote.
UNKNOWN_ROW = (KeyError, TypeError, ValueError, AttributeError, NightshiftError)
RETRY_S = 5.0  # after an adapter could not be loaded
log = logging.getLogger("nightshift.gateway")


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
        self._leases = 0
        self.unused = asyncio.Event()
        self.unused.set()

    def in_order(self, first: Backend) -> list[Backend]:
        """The backends to try: the chosen one, then production, the previous one, the bare base."""
        return list(dict.fromkeys((first, *self.fallbacks)))

    @contextmanager
    def lease(self) -> Iterator[LoadedRoute]:
        """Keep the adapters loaded until the block ends."""
        self._leases += 1
        self.unused.clear()
        try:
            yield self
        finally:
            self._leases -= 1
            if not self._leases:
                self.unused.set()


class LiveRoute:
    """The route that users are answered by. `problem` says why the ledger's newest route is not live."""

    def __init__(
        self,
        ledger: Ledger,
        backends: Backends,
        fetch: Callable[[Adapter], Path],
        probes: Probes,
        tracer: Tracer,
    ) -> None:
        self._probes = probes
        self._ledger, self._backends, self._fetch, self._tracer = ledger, backends, fetch, tracer
        self._loaded: set[Adapter] = set()
        self._routes: list[LoadedRoute] = []  # the newest last; older ones stay while they are leased
        self._retry_at = 0.0
        self._failed = -1
        self._retirements: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self.problem = ""

    @property
    def current(self) -> LoadedRoute | None:
        """None until the first route is loaded and warmed."""
        return self._routes[-1] if self._routes else None

    async def update(self) -> None:
        """Switch to the ledger's newest route. If it cannot be loaded, the current one stays."""
        try:
            promotion = await asyncio.to_thread(self._ledger.promotion)
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
            self._report(f"the ledger cannot be read: {error}")
            return
        except UNKNOWN_ROW as error:
            self._unreadable(error)
            return
        if self.current and promotion.number == self.current.number:
            self.problem = ""
            return
        if promotion.number == self._failed and time.monotonic() < self._retry_at:
            return
        async with self._changing:
            try:
                await self._switch(promotion)
            except Exception as error:  # a loader may raise anything; users keep getting answers
                log.exception("promotion %d is not live", promotion.number)
                self._backends.metrics.load_failures.inc()
                self._failed, self._retry_at = promotion.number, time.monotonic() + RETRY_S
                self._report(f"promotion {promotion.number} is not live: {type(error).__name__}: {error}")

    def _unreadable(self, error: Exception) -> None:
        """The newest row is none that this version knows. A later one is read again."""
        found = f"{type(error).__name__}: {error}"
        self._report(
            f"the newest promotion is not live: its row cannot be read ({found}); update the gateway"
        )
        if time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + RETRY_S
            self._backends.metrics.load_failures.inc()

    async def _switch(self, promotion: Promotion) -> None:
        """Make a promotion live, in a span that belongs to the trace of the move."""
        parent = promotion.evidence.get("traceparent", "")
        with span_below(parent, self._tracer, "route change") as span:
            span.set_attributes({"nightshift.promotion": promotion.number, "nightshift.move": promotion.move})
            await self._go_live(promotion)

    async def _go_live(self, promotion: Promotion) -> None:
        route, old = promotion.route, self.current
        for adapter in filter(None, (route.production, route.canary, route.shadow)):
            await self._load(adapter)
        if route.previous:
            await self._load_previous(route.previous)
        if old is None:
            await self._backends.of(None).warm()
        self._routes.append(LoadedRoute(promotion, self._backends, _adapters(route) & self._loaded))
        self._probes.watch(self._routes[-1].adapters)
        self.problem, self._failed = "", -1
        self._backends.metrics.promotion.set(promotion.number)
        log.info("promotion %d (%s) is live", promotion.number, promotion.move)
        if old:
            task = asyncio.create_task(self._retire(old))
            self._retirements.add(task)
            task.add_done_callback(self._retirements.discard)

    async def _load(self, adapter: Adapter) -> None:
        if adapter in self._loaded:
            await self._probes.require(adapter)
            return
        started = time.monotonic()
        folder = await asyncio.to_thread(self._fetch, adapter)
        await self._backends.engine.load(adapter, folder)
        try:
            await self._backends.of(adapter).warm()
            await self._probes.require(adapter)
        except BaseException:  # it must not stay in the engine, beside those that users get
            await self._backends.engine.unload(adapter)
            raise
        self._loaded.add(adapter)
        log.info("adapter %s loaded and warmed in %.2f s", adapter.version, time.monotonic() - started)

    async def _load_previous(self, adapter: Adapter) -> None:
        """Load the adapter that a rollback returns to. A move to production does not wait for it."""
        try:
            await self._load(adapter)
        except Exception:  # as in update(): a loader may raise anything
            self._backends.metrics.load_failures.inc()
            log.exception("the previous adapter %s cannot be loaded, so a fallback skips it", adapter.version)

    async def _retire(self, old: LoadedRoute) -> None:
        """When the last request on `old` has ended, unload the adapters that no route needs."""
        await old.unused.wait()
        async with self._changing:
            self._routes.remove(old)
            needed = frozenset().union(*(route.adapters for route in self._routes))
            for adapter in self._loaded - needed:
                self._loaded.discard(adapter)
                await self._unload(adapter)

    async def _unload(self, adapter: Adapter) -> None:
        try:
            await self._backends.engine.unload(adapter)
        except Exception:  # as in update(): the others are unloaded all the same
            log.exception("adapter %s could not be unloaded", adapter.version)
            self._backends.metrics.worker_failures.labels("unload").inc()
        else:
            log.info("adapter %s unloaded", adapter.version)

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            log.error(problem)
        self.problem = problem


def _adapters(route: Route) -> set[Adapter]:
    return {a for a in (route.production, route.canary, route.shadow, route.previous) if a}
