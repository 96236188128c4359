"""Lets the shadow adapter answer copies of users' requests in the background, unseen by users."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, suppress
from dataclasses import replace

from opentelemetry import trace
from purgatory.domain.model import OpenedState

from gateway.engines.base import Busy, EngineError, RequestRefused
from gateway.metrics import Metrics
from gateway.serving.backends import Overloaded, as_background
from gateway.serving.calls import Call, Progress
from gateway.serving.live_route import LiveRoute
from gateway.serving.loaded_route import LoadedRoute
from gateway.serving.room import QueueFull
from gateway.serving.workers import keep_working
from pipelines.core.config import Gateway
from pipelines.stores.journal.entries import CopyFate
from pipelines.stores.journal.tables import Interaction
from pipelines.stores.journal.writer import JournalWriter

log = logging.getLogger("nightshift.gateway")


class Shadows:
    """A few workers on a bounded queue. Copies are dropped while users wait.

    The journal counts each copy: offered = answered + failed + dropped, once none is under way.
    """

    def __init__(
        self, settings: Gateway, live_route: LiveRoute, journal: JournalWriter, metrics: Metrics
    ) -> None:
        self._settings, self._live_route = settings, live_route
        self._journal, self._metrics = journal, metrics
        self._waiting: asyncio.Queue[tuple[Call, LoadedRoute, ExitStack]] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers. Needs a running event loop."""
        count = self._settings.shadow_concurrency
        self._workers = [
            asyncio.create_task(keep_working("shadow", self._work, self._metrics)) for _ in range(count)
        ]

    async def stop(self) -> None:
        """Stop the workers. Copies that wait are dropped, as no user waits for them."""
        for worker in self._workers:
            worker.cancel()
        for worker in self._workers:
            with suppress(asyncio.CancelledError):
                await worker
        while not self._waiting.empty():
            _, route, lease = self._waiting.get_nowait()
            with lease:
                self._count(route, "dropped")

    def offer(self, call: Call, route: LoadedRoute) -> None:
        """Queue a copy for the shadow, unless users wait or the queue is full."""
        if route.shadow is None:
            return
        self._count(route, "offered")
        if route.production.is_crowded or self._waiting.qsize() >= self._settings.shadow_queue:
            self._count(route, "dropped")
            return
        lease = ExitStack()
        lease.enter_context(route.lease())
        self._waiting.put_nowait((call, route, lease))

    async def _work(self) -> None:
        """Take one copy and answer it."""
        call, route, lease = await self._waiting.get()
        with lease:
            live = self._live_route.current
            if live and (live.number, live.shadow) == (route.number, route.shadow):
                await self._answer(call, route)
            else:
                self._count(route, "dropped")

    def _count(self, route: LoadedRoute, fate: CopyFate, row: Interaction | None = None) -> None:
        self._metrics.shadows.labels(fate).inc()
        self._journal.count_copy(route.number, fate, row)

    async def _answer(self, call: Call, route: LoadedRoute) -> None:
        assert route.shadow is not None
        started = asyncio.get_running_loop().time()
        progress, fault = Progress(route.shadow), ""
        request, deadline = as_background(call.question.request), started + self._settings.attempt_timeout_s
        try:
            async for piece in route.shadow.pieces(
                request, call.question.tenant, deadline, trace.INVALID_SPAN
            ):
                progress.add(piece)
        # Without room or time: the shadow gets what users leave over, so this is no failure of the adapter.
        # Nor is a request that is wrong in itself.
        except (QueueFull, Busy, TimeoutError, Overloaded, OpenedState, RequestRefused):
            self._count(route, "dropped")
            return
        except asyncio.CancelledError:  # the gateway stops
            self._count(route, "dropped")
            raise
        except EngineError:
            fault = "engine"
        except Exception:  # an engine may raise anything; the worker goes on
            log.exception("the engine raised an unexpected error for the shadow")
            fault = "engine"
        name = f"{call.request_id}.shadow"
        row = progress.row(call, "shadow", started, name, parent=call.request_id, fault=fault)
        if fault:
            self._count(route, "failed", replace(row, completion=""))
        else:
            self._count(route, "answered", row)
        labels = (row.adapter, row.route)
        if fault:
            self._metrics.failures.labels(*labels, fault).inc()
        else:
            self._metrics.answers.labels(*labels).inc()
            self._metrics.latency.labels(*labels).observe(row.latency_ms / 1000)
