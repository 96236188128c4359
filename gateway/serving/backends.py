"""One adapter as users meet it: a bounded queue, a limit on parallel answers, a circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from opentelemetry import trace
from purgatory import AsyncCircuitBreakerFactory

from gateway.engines.base import Busy, CompletionRequest, Piece, RequestRefused, ServingEngine
from gateway.metrics import Metrics
from gateway.serving.capacity import Capacity
from pipelines.core.config import Gateway
from pipelines.core.traffic_split import Adapter
from pipelines.stores.journal.tables import name_and_digest


class QueueFull(Exception):
    """An adapter's queue has no room. Try again after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the queue is full")
        self.retry_after_s = retry_after_s


class Overloaded(Exception):
    """The time was up while the engine worked on many answers. No failure of the adapter."""


# What says nothing about the adapter: its circuit stays as it is.
NEUTRAL = (asyncio.CancelledError, GeneratorExit, Busy, RequestRefused, Overloaded)


class Backends:
    """Makes one backend per adapter digest, so an adapter that comes back has its circuit breaker again."""

    def __init__(self, engine: ServingEngine, settings: Gateway, metrics: Metrics) -> None:
        self.engine, self.settings, self.metrics = engine, settings, metrics
        self.capacity = Capacity()
        self.breakers = AsyncCircuitBreakerFactory(settings.breaker_failures, settings.breaker_reset_s)
        self._made: dict[str, Backend] = {}

    def of(self, adapter: Adapter | None) -> Backend:
        """The backend of an adapter; None is the bare base model."""
        digest = name_and_digest(adapter)[1]
        if digest not in self._made:
            self._made[digest] = Backend(adapter, self)
        return self._made[digest]

    @asynccontextmanager
    async def circuit(self, digest: str) -> AsyncIterator[None]:
        """Raises OpenedState while the adapter fails. What is NEUTRAL leaves the circuit as it is."""
        circuit = await self.breakers.get_breaker(digest)
        await circuit.__aenter__()
        try:
            yield
        except NEUTRAL:
            raise
        except BaseException as error:
            await circuit.__aexit__(type(error), error, error.__traceback__)
            raise
        else:
            await circuit.__aexit__(None, None, None)


class Backend:
    """An adapter with at most `concurrency` answers under way and `queue` requests waiting."""

    def __init__(self, adapter: Adapter | None, shared: Backends) -> None:
        self.adapter, self._shared = adapter, shared
        self.name, self.digest = name_and_digest(adapter)
        self._room = asyncio.Semaphore(shared.settings.concurrency)
        self.waiting = 0
        self._mean_s: float | None = None  # seconds per answer, exponentially weighted
        self._progress_at = 0.0  # when the adapter's newest piece came, event loop time

    @property
    def is_crowded(self) -> bool:
        """Whether a new request would have to wait."""
        return self._room.locked()

    async def pieces(
        self, request: CompletionRequest, deadline: float, span: trace.Span
    ) -> AsyncIterator[Piece]:
        """The answer. Raises QueueFull or Busy at once, OpenedState while the circuit is open, or what the
        engine raised. At `deadline` (event loop time) TimeoutError, or Overloaded if the engine worked well.
        """
        with trace.use_span(span, end_on_exit=True):
            self._check_capacity(request, deadline)
            async with self._slot(deadline), self._shared.circuit(self.digest):
                with self._shared.metrics.in_flight.labels(self.name).track_inprogress():
                    async with aclosing(self._watched(request, deadline)) as pieces:
                        async for piece in pieces:
                            yield piece

    async def _watched(self, request: CompletionRequest, deadline: float) -> AsyncGenerator[Piece, None]:
        """The engine's pieces, with what they tell of its speed."""
        capacity, clock = self._shared.capacity, asyncio.get_running_loop().time
        started, before, work = clock(), capacity.pieces, None
        if not request.background:
            work = capacity.begin(request, deadline, started)
        is_whole, count = False, 0
        try:
            async with (
                asyncio.timeout_at(deadline),
                aclosing(self._shared.engine.complete(request, self.adapter)) as answer,
            ):
                async for piece in answer:
                    self._progress_at, count = clock(), count + 1
                    if work:
                        capacity.note(work, clock())
                    is_whole = piece.finish_reason is not None
                    yield piece
        except TimeoutError:
            others = capacity.pieces - before
            if self._was_at_work(count, others, started, clock()):
                raise Overloaded from None
            raise
        finally:
            if work:
                capacity.end(work, request, is_whole)
        took = clock() - started
        self._mean_s = took if self._mean_s is None else self._mean_s + 0.1 * (took - self._mean_s)

    def _was_at_work(self, count: int, pieces: int, started: float, now: float) -> bool:
        """Whether a time-out says that there was too much work, and not that the adapter is stuck.

        `count`: pieces of this answer; `pieces`: of all answers since it `started`.
        """
        if not count:  # it waited inside the engine, if the adapter answered others meanwhile
            return self._progress_at > started
        return pieces / max(now - started, 1e-9) >= self._shared.settings.floor_tokens_per_s

    def _check_capacity(self, request: CompletionRequest, deadline: float) -> None:
        """Raises QueueFull if the answer would not be whole in time. A shadow's request is never refused."""
        now = asyncio.get_running_loop().time()
        excess_s = 0.0 if request.background else self._shared.capacity.excess_s(request, deadline, now)
        if excess_s:
            raise QueueFull(excess_s)

    @asynccontextmanager
    async def _slot(self, deadline: float) -> AsyncIterator[None]:
        settings = self._shared.settings
        if self._room.locked():
            wait_s = (self._mean_s or 0.0) * (self.waiting + 1) / settings.concurrency
            left_s = deadline - asyncio.get_running_loop().time()
            if self.waiting >= settings.queue or wait_s > left_s:
                raise QueueFull(wait_s)
        self.waiting += 1
        self._shared.metrics.queued.labels(self.name).set(self.waiting)
        try:
            async with asyncio.timeout_at(deadline):
                await self._room.acquire()
        except TimeoutError:
            raise QueueFull(self._mean_s or 1.0) from None
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
