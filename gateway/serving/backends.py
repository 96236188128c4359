"""One adapter as users meet it: places that tenants take in turns, and circuit breakers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from opentelemetry import trace

from gateway.engines.base import (
    Busy,
    CompletionRequest,
    EngineError,
    Piece,
    RequestRefused,
    ServingEngine,
)
from gateway.metrics import Metrics
from gateway.serving.capacity import Capacity
from gateway.serving.circuits import Circuits
from gateway.serving.room import QueueFull, Room
from pipelines.core.config import Gateway
from pipelines.core.traffic_split import Adapter
from pipelines.stores.journal.tables import name_and_digest


class Overloaded(Exception):
    """The time was up while the engine worked on many answers. No failure of the adapter."""


# What says nothing about the adapter: its circuit stays as it is.
NEUTRAL = (asyncio.CancelledError, GeneratorExit, Busy, RequestRefused, Overloaded)


class Backends:
    """Makes one backend per adapter digest, so an adapter that comes back has its circuits again."""

    def __init__(self, engine: ServingEngine, settings: Gateway, metrics: Metrics) -> None:
        self.engine, self.settings, self.metrics = engine, settings, metrics
        self.capacity = Capacity()
        self.circuits = Circuits(settings, NEUTRAL)
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
        self._room = Room(shared.settings.concurrency, shared.settings.queue)
        self._mean_s: float | None = None  # seconds per answer, exponentially weighted
        self._progress_at = 0.0  # when the adapter's newest piece came, event loop time
        self.wrong = ""  # what the engine serves instead of the adapter, as its probes tell

    @property
    def is_crowded(self) -> bool:
        """Whether a new request would have to wait."""
        return self._room.is_full

    async def pieces(
        self, request: CompletionRequest, tenant: str, deadline: float, span: trace.Span
    ) -> AsyncIterator[Piece]:
        """The answer for a tenant.

        Raises QueueFull or Busy at once, OpenedState while a circuit is open, or what the engine raised. At
        `deadline` (event loop time) TimeoutError, or Overloaded if the engine worked well.
        """
        with trace.use_span(span, end_on_exit=True):
            if self.wrong:
                raise EngineError(f"{self.wrong}.", "Another adapter answers until its probes are right.")
            self._check_capacity(request, tenant, deadline)
            async with self._place(tenant, deadline), self._shared.circuits.watch(self.digest, tenant):
                with self._shared.metrics.in_flight.labels(self.name).track_inprogress():
                    async with aclosing(self._watched(request, tenant, deadline)) as pieces:
                        async for piece in pieces:
                            yield piece

    async def _watched(
        self, request: CompletionRequest, tenant: str, deadline: float
    ) -> AsyncGenerator[Piece, None]:
        """The engine's pieces, with what they tell of its speed."""
        capacity, clock = self._shared.capacity, asyncio.get_running_loop().time
        started, before, work = clock(), capacity.pieces, None
        if not request.background:
            work = capacity.begin(request, tenant, deadline, started)
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

    def _check_capacity(self, request: CompletionRequest, tenant: str, deadline: float) -> None:
        """Raises QueueFull if the answer would not be whole in time. A shadow's request is never refused."""
        now = asyncio.get_running_loop().time()
        if request.background:
            return
        if excess_s := self._shared.capacity.excess_s(request, tenant, deadline, now):
            raise QueueFull(excess_s)

    @asynccontextmanager
    async def _place(self, tenant: str, deadline: float) -> AsyncIterator[None]:
        queued = self._shared.metrics.queued.labels(self.name)
        try:
            async with self._room.place(tenant, deadline, self._mean_s):
                queued.set(self._room.waiting)
                yield
        finally:
            queued.set(self._room.waiting)

    async def warm(self) -> None:
        """Let the adapter answer something short before users need it."""
        await self._shared.engine.warm(self.adapter)


def as_background(request: CompletionRequest) -> CompletionRequest:
    """The same request for a shadow: the engine works on it only while no user waits."""
    return replace(request, background=True)
