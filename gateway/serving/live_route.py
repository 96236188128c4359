"""The route as it is live: follows the ledger, loads and warms before it switches, unloads what is unused."""

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
from pipelines.core.traffic_split import Adapter, Route
from pipelines.observability.tracing import span_below
from pipelines.stores.ledger import Ledger, Promotion

RETRY_S = 5.0  # after an adapter could not be loaded
log = logging.getLogger("nightshift.gateway")


class Live:
    """One route with its loaded adapters. Requests lease it; its adapters stay while one does."""

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

    def contenders(self, first: Backend) -> list[Backend]:
        """Who may answer, in this order: the one chosen, production, the previous one, the bare base."""
        return list(dict.fromkeys((first, *self.fallbacks)))

    @contextmanager
    def lease(self) -> Iterator[Live]:
        self._leases += 1
        self.unused.clear()
        try:
            yield self
        finally:
            self._leases -= 1
            if not self._leases:
                self.unused.set()


class Rollout:
    """`live` is None until the first route is loaded and warmed; `problem` says why a newer one is not."""

    def __init__(
        self, ledger: Ledger, backends: Backends, fetch: Callable[[Adapter], Path], tracer: Tracer
    ) -> None:
        self._ledger, self._backends, self._fetch, self._tracer = ledger, backends, fetch, tracer
        self._loaded: set[Adapter] = set()
        self._lives: list[Live] = []  # the newest last; older ones while requests lease them
        self._retry_at = 0.0
        self._failed = -1
        self._retirements: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self.problem = ""

    @property
    def live(self) -> Live | None:
        return self._lives[-1] if self._lives else None

    async def follow(self, poll_s: float) -> None:
        """Keep up with the ledger for ever."""
        while True:
            await self.look()
            await asyncio.sleep(poll_s)

    async def look(self) -> None:
        """Go live with the ledger's newest route; where that fails the old one stays."""
        try:
            promotion = await asyncio.to_thread(self._ledger.promotion)
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
            self._trouble(f"the ledger cannot be read: {error}")
            return
        if self.live and promotion.number == self.live.number:
            self.problem = ""
            return
        if promotion.number == self._failed and time.monotonic() < self._retry_at:
            return
        async with self._changing:
            try:
                await self._switch(promotion)
            except Exception as error:  # whatever a vendor's loader raises: users keep their answers
                log.exception("promotion %d is not live", promotion.number)
                self._backends.metrics.load_failures.inc()
                self._failed, self._retry_at = promotion.number, time.monotonic() + RETRY_S
                self._trouble(f"promotion {promotion.number} is not live: {type(error).__name__}: {error}")

    async def _switch(self, promotion: Promotion) -> None:
        """Go live with a promotion; its span joins the trace of whoever made the move."""
        parent = promotion.evidence.get("traceparent", "")
        with span_below(parent, self._tracer, "route change") as span:
            span.set_attributes({"nightshift.promotion": promotion.number, "nightshift.move": promotion.move})
            await self._go_live(promotion)

    async def _go_live(self, promotion: Promotion) -> None:
        route, old = promotion.route, self.live
        for adapter in filter(None, (route.production, route.canary, route.shadow)):
            await self._load(adapter)
        if route.previous:
            await self._load_previous(route.previous)
        if old is None:
            await self._backends.of(None).warm()
        live = Live(promotion, self._backends, _adapters(route) & self._loaded)
        self._lives.append(live)
        self.problem, self._failed = "", -1
        self._backends.metrics.promotion.set(promotion.number)
        log.info("promotion %d (%s) is live", promotion.number, promotion.move)
        if old:
            task = asyncio.create_task(self._retire(old))
            self._retirements.add(task)
            task.add_done_callback(self._retirements.discard)

    async def _load(self, adapter: Adapter) -> None:
        if adapter in self._loaded:
            return
        started = time.monotonic()
        folder = await asyncio.to_thread(self._fetch, adapter)
        await self._backends.engine.load(adapter, folder)
        await self._backends.of(adapter).warm()
        self._loaded.add(adapter)
        log.info("adapter %s loaded and warmed in %.2f s", adapter.version, time.monotonic() - started)

    async def _load_previous(self, adapter: Adapter) -> None:
        """The way back is wanted, but a move to production does not wait for it."""
        try:
            await self._load(adapter)
        except Exception:  # as in look(): the vendor's loader may raise anything
            self._backends.metrics.load_failures.inc()
            log.exception("the previous adapter %s does not load: no way back to it", adapter.version)

    async def _retire(self, old: Live) -> None:
        """Unload what nothing needs any more, once the last request of `old` has ended."""
        await old.unused.wait()
        async with self._changing:
            self._lives.remove(old)
            needed = frozenset().union(*(live.adapters for live in self._lives))
            for adapter in self._loaded - needed:
                await self._backends.engine.unload(adapter)
                self._loaded.discard(adapter)
                log.info("adapter %s unloaded", adapter.version)

    def _trouble(self, words: str) -> None:
        if words != self.problem:
            log.error(words)
        self.problem = words


def _adapters(route: Route) -> set[Adapter]:
    return {a for a in (route.production, route.canary, route.shadow, route.previous) if a}
