"""The adapters in the engine: loaded, warmed and proved before users meet one, and unloaded afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Set
from pathlib import Path

from gateway.serving.backends import Backends
from gateway.serving.probes import Probes
from pipelines.core.traffic_split import Adapter, Route

log = logging.getLogger("nightshift.gateway")


def adapters_of(route: Route) -> set[Adapter]:
    """All adapters that a route names."""
    return answering(route) | ({route.previous} if route.previous else set())


def answering(route: Route) -> set[Adapter]:
    """The adapters that answer users or copies of their requests."""
    return {a for a in (route.production, route.canary, route.shadow) if a}


class LoadedAdapters:
    """`fetch` returns an adapter's folder on this machine, and may block. Callers load and unload in turn."""

    def __init__(self, backends: Backends, fetch: Callable[[Adapter], Path], probes: Probes) -> None:
        self._backends, self._fetch, self._probes = backends, fetch, probes
        self.loaded: set[Adapter] = set()

    async def load(self, route: Route) -> None:
        """Load what a route needs. Raises what the engine, the registry or the probes raise."""
        for adapter in filter(None, (route.production, route.canary, route.shadow)):
            await self._load(adapter)
        if route.previous:
            await self._load_previous(route.previous)

    async def keep_only(self, needed: Set[Adapter]) -> None:
        """Unload all others."""
        for adapter in self.loaded - needed:
            self.loaded.discard(adapter)
            await self._unload(adapter)

    async def _load(self, adapter: Adapter) -> None:
        if adapter in self.loaded:
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
        self.loaded.add(adapter)
        log.info("adapter %s loaded and warmed in %.2f s", adapter.version, time.monotonic() - started)

    async def _load_previous(self, adapter: Adapter) -> None:
        """Load the adapter that a rollback returns to. A move to production does not wait for it."""
        try:
            await self._load(adapter)
        except Exception:  # a loader may raise anything
            self._backends.metrics.load_failures.inc()
            log.exception("the previous adapter %s cannot be loaded, so a fallback skips it", adapter.version)

    async def _unload(self, adapter: Adapter) -> None:
        try:
            await self._backends.engine.unload(adapter)
        except Exception:  # an engine may raise anything; the others are unloaded all the same
            log.exception("adapter %s could not be unloaded", adapter.version)
            self._backends.metrics.worker_failures.labels("unload").inc()
        else:
            log.info("adapter %s unloaded", adapter.version)
