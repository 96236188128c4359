"""Answers a call: picks the side of the traffic split, tries the cache, the adapter, then its fallbacks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

from opentelemetry import trace
from purgatory.domain.model import OpenedState

from gateway.engines.base import Busy, EngineError, Piece
from gateway.errors import Refusal, retry_later
from gateway.metrics import Metrics
from gateway.serving.backends import Backend, QueueFull
from gateway.serving.cache import Cache, cache_key
from gateway.serving.calls import AnsweredBy, Call, Progress, Stream
from gateway.serving.live_route import LiveRoute, LoadedRoute
from gateway.serving.records import Recorder
from gateway.serving.shadows import Shadows
from pipelines.core.config import Config
from pipelines.core.traffic_split import side

log = logging.getLogger("nightshift.gateway")


class Dispatcher:
    """Stands between the HTTP handlers and the engine."""

    def __init__(
        self,
        config: Config,
        routing_key: bytes,
        live_route: LiveRoute,
        cache: Cache,
        recorder: Recorder,
        shadows: Shadows,
        metrics: Metrics,
        tracer: trace.Tracer,
    ) -> None:
        self._base, self._settings, self._routing_key = config.model.base, config.gateway, routing_key
        self._live_route, self._cache, self._recorder = live_route, cache, recorder
        self._shadows, self._metrics, self._tracer = shadows, metrics, tracer

    async def answer(self, call: Call, by: AnsweredBy) -> AsyncIterator[Piece]:
        """The pieces of the answer; `by` is filled before the first one. Raises Refusal.

        The journal's row is queued before the last piece is yielded, so feedback always finds its answer.
        """
        route = self._live_route.current
        if route is None:
            raise retry_later(503, "not_ready", "the adapters are being loaded", 1)
        with route.lease():
            chosen = self._choose(call, by, route)
            key = cache_key(self._base, chosen.digest, call.question.tenant, call.question.request)
            cached = await self._cache.get(key) if key else None
            self._metrics.cache.labels("hit" if cached else "miss" if key else "skipped").inc()
            if cached:
                by.adapter, by.cached = chosen.name, True
                progress = Progress(chosen)
                progress.add(cached)
                await self._recorder.answered(call, by, progress)
                yield cached
                return
            progress, stream, piece = await self._first_piece(call, by, route, chosen)
            try:
                while not progress.last:
                    progress.add(piece)
                    if progress.last:
                        await self._finish(call, by, progress, key, route)
                    yield piece
                    if not progress.last:
                        piece = await self._next_piece(call, by, progress, stream)
            except (asyncio.CancelledError, GeneratorExit):
                if not progress.last:
                    self._recorder.failed(call, progress, by.route, "aborted")
                raise
            finally:
                stream.cancel()

    def _choose(self, call: Call, by: AnsweredBy, route: LoadedRoute) -> Backend:
        """The backend of the person's side."""
        if side(route.route, self._routing_key, call.question.tenant, call.question.subject) != "canary":
            return route.production
        assert route.canary is not None
        by.route = "canary"
        return route.canary

    async def _first_piece(
        self, call: Call, by: AnsweredBy, route: LoadedRoute, chosen: Backend
    ) -> tuple[Progress, Stream, Piece]:
        """The first piece of the first backend that gives one: the chosen one, then its fallbacks."""
        faults = []
        for number, backend in enumerate(route.in_order(chosen)):
            name = "canary" if backend is route.canary else "production"
            progress = Progress(backend)
            stream = self._start(call, backend)
            try:
                first = await stream.next()
            except asyncio.CancelledError:
                stream.cancel()
                raise
            if isinstance(first, Piece):
                by.adapter, by.route, by.fallback = backend.name, name, backend is not chosen
                return progress, stream, first
            if isinstance(first, QueueFull | Busy) and backend is not route.canary:
                raise retry_later(429, "queue_full", "too many requests wait", first.retry_after_s) from first
            faults.append(_fault(first))
            self._recorder.failed(call, progress, name, faults[-1], f".{number}")
            if asyncio.get_running_loop().time() >= call.deadline:
                break
        raise self._refusal(faults)

    def _start(self, call: Call, backend: Backend) -> Stream:
        now = asyncio.get_running_loop().time()
        deadline = min(call.deadline, now + self._settings.attempt_timeout_s)
        parent = trace.set_span_in_context(call.span)
        span = self._tracer.start_span("engine", parent, attributes={"nightshift.adapter": backend.name})
        return Stream(backend.pieces(call.question.request, deadline, span))

    async def _next_piece(self, call: Call, by: AnsweredBy, progress: Progress, stream: Stream) -> Piece:
        """The next piece. Raises Refusal if the answer breaks off."""
        piece = await stream.next()
        if isinstance(piece, Piece):
            return piece
        fault = _fault(piece)
        self._recorder.failed(call, progress, by.route, fault, ".late")
        raise self._refusal([fault])

    async def _finish(
        self, call: Call, by: AnsweredBy, progress: Progress, key: str | None, route: LoadedRoute
    ) -> None:
        """Record a whole answer, cache it, and let the shadow answer too."""
        await self._recorder.answered(call, by, progress)
        if by.fallback:
            return
        if key and progress.last and not call.question.opt_out:
            await self._cache.put(key, replace(progress.last, text=progress.text))
        if by.route == "production":
            self._shadows.offer(call, route)

    def _refusal(self, faults: list[str]) -> Refusal:
        if "timeout" in faults:
            return Refusal(504, "timeout", "no answer in time")
        if set(faults) == {"circuit open"}:
            return retry_later(503, "circuit_open", "the engine fails", self._settings.breaker_reset_s)
        return Refusal(502, "engine_failed", "the engine could not answer")


def _fault(error: BaseException) -> str:
    """What the journal calls an error."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, QueueFull | Busy):
        return "full"
    if isinstance(error, OpenedState):
        return "circuit open"
    if not isinstance(error, EngineError):
        log.error("the engine raised an unexpected error", exc_info=error)
    return "engine"
