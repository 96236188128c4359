"""One adapter as users meet it: a bounded queue, a limit on parallel answers, a circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from opentelemetry import trace
from purgatory import AsyncCircuitBreakerFactory

from gateway.engines.base import Busy, CompletionRequest, Piece, ServingEngine
from gateway.metrics import Metrics
from pipelines.core.config import Gateway
from pipelines.core.traffic_split import Adapter
from pipelines.stores.journal.tables import name_and_digest


class QueueFull(Exception):
    """An adapter's queue has no room. Try again after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the queue is full")
        self.retry_after_s = retry_after_s


class Backends:
    """Makes one backend per adapter digest, so an adapter that comes back has its circuit breaker again."""

    def __init__(self, engine: ServingEngine, settings: Gateway, metrics: Metrics) -> None:
        self.engine, self.settings, self.metrics = engine, settings, metrics
        # A client that went away and a full queue are no failures of the adapter.
        no_failures: list = [asyncio.CancelledError, GeneratorExit, Busy]
        self.breakers = AsyncCircuitBreakerFactory(
            settings.breaker_failures, settings.breaker_reset_s, exclude=no_failures
        )
        self._made: dict[str, Backend] = {}

    def of(self, adapter: Adapter | None) -> Backend:
        """The backend of an adapter; None is the bare base model."""
        digest = name_and_digest(adapter)[1]
        if digest not in self._made:
            self._made[digest] = Backend(adapter, self)
        return self._made[digest]


class Backend:
    """An adapter with at most `concurrency` answers under way and `queue` requests waiting."""

    def __init__(self, adapter: Adapter | None, shared: Backends) -> None:
        self.adapter, self._shared = adapter, shared
        self.name, self.digest = name_and_digest(adapter)
        self._room = asyncio.Semaphore(shared.settings.concurrency)
        self.waiting = 0
        self._mean_s = 1.0  # seconds per answer, exponentially weighted, for Retry-After

    @property
    def is_crowded(self) -> bool:
        """Whether a new request would have to wait."""
        return self._room.locked()

    async def pieces(
        self, request: CompletionRequest, deadline: float, span: trace.Span
    ) -> AsyncIterator[Piece]:
        """The answer. Raises QueueFull or Busy at once, OpenedState while the circuit is open, TimeoutError
        at `deadline` (event loop time), or what the engine raised.
        """
        metrics = self._shared.metrics
        async with self._slot(deadline):
            circuit = await self._shared.breakers.get_breaker(self.digest)
            started = asyncio.get_running_loop().time()
            with (
                metrics.in_flight.labels(self.name).track_inprogress(),
                trace.use_span(span, end_on_exit=True),
            ):
                answer = self._shared.engine.complete(request, self.adapter)
                async with circuit, asyncio.timeout_at(deadline), aclosing(answer):
                    async for piece in answer:
                        yield piece
            took = asyncio.get_running_loop().time() - started
            self._mean_s += 0.1 * (took - self._mean_s)

    @asynccontextmanager
    async def _slot(self, deadline: float) -> AsyncIterator[None]:
        settings = self._shared.settings
        if self._room.locked() and self.waiting >= settings.queue:
            raise QueueFull(self._mean_s * (self.waiting + 1) / settings.concurrency)
        self.waiting += 1
        self._shared.metrics.queued.labels(self.name).set(self.waiting)
        try:
            async with asyncio.timeout_at(deadline):
                await self._room.acquire()
        finally:
            self.waiting -= 1
            self._shared.metrics.queued.labels(self.name).set(self.waiting)
        try:
            yield
        finally:
            self._room.release()

    async def warm(self) -> None:
        """Let the adapter answer something short before users need it."""
        await self._shared.engine.warm(self.adapter)


def as_background(request: CompletionRequest) -> CompletionRequest:
    """The same request for a shadow: the engine works on it only while no user waits."""
    return replace(request, background=True)
