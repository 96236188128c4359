"""Answers a call: picks the side of the traffic split, tries the cache, the adapter, then its fallbacks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from opentelemetry import trace
from purgatory.domain.model import OpenedState

from gateway.engines.base import Busy, EngineError, Piece, RequestRefused
from gateway.errors import Refusal, retry_later
from gateway.metrics import Metrics
from gateway.serving.backends import Backend, Overloaded
from gateway.serving.cache import Cache, cache_key
from gateway.serving.calls import AnsweredBy, Call, Progress, Stream
from gateway.serving.live_route import LiveRoute
from gateway.serving.loaded_route import LoadedRoute
from gateway.serving.records import Recorder
from gateway.serving.room import QueueFull
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
        """The pieces of the answer; `by` is filled before the first one. Raises Refusal, or RequestRefused.

        The journal's row is queued before the last piece is yielded, so feedback always finds its answer.
        """
        route = self._live_route.current
        if route is None:
            raise retry_later(503, "not_ready", self._live_route.why_silent, 1)
        with route.lease():
            chosen = self._choose(call, by, route)
            tried = [Progress(chosen)]
            try:
                async with aclosing(self._pieces(call, by, route, tried)) as pieces:
                    async for piece in pieces:
                        yield piece
            except (asyncio.CancelledError, GeneratorExit):  # the client went away
                if not tried[-1].last:
                    self._recorder.failed(call, tried[-1], by.route, "aborted")
                raise
            finally:
                by.used_tokens = sum(progress.used_tokens(call.question.request) for progress in tried)

    async def _pieces(
        self, call: Call, by: AnsweredBy, route: LoadedRoute, tried: list[Progress]
    ) -> AsyncGenerator[Piece, None]:
        """`tried` grows with each backend that is asked; the first is the chosen one."""
        chosen, request = tried[0].backend, call.question.request
        key = cache_key(self._base, chosen.digest, call.question.tenant, request)
        cached = await self._cache.get(key) if key else None
        self._metrics.cache.labels("hit" if cached else "miss" if key else "skipped").inc()
        if cached:
            by.adapter, by.cached, by.dropped_turns = chosen.name, True, cached.dropped_turns
            tried[-1].is_cached = True
            tried[-1].add(cached)
            self._recorder.answered(call, by, tried[-1])
            yield cached
            return
        stream, piece = await self._first_piece(call, by, route, tried)
        progress = tried[-1]
        try:
            while not progress.last:
                progress.add(piece)
                if progress.last:
                    await self._finish(call, by, progress, key, route)
                yield piece
                if not progress.last:
                    piece = await self._next_piece(call, by, progress, stream)
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
        self, call: Call, by: AnsweredBy, route: LoadedRoute, tried: list[Progress]
    ) -> tuple[Stream, Piece]:
        """The first piece of the first backend that gives one: the chosen one, then its fallbacks."""
        faults, chosen = [], tried.pop().backend
        for number, backend in enumerate(route.in_order(chosen)):
            name = "canary" if backend is route.canary else "production"
            tried.append(Progress(backend))
            stream = self._start(call, tried[-1])
            try:
                first = await stream.next()
            except asyncio.CancelledError:
                stream.cancel()
                raise
            if isinstance(first, Piece):
                by.adapter, by.route, by.fallback = backend.name, name, backend is not chosen
                by.dropped_turns = first.dropped_turns
                return stream, first
            if isinstance(first, QueueFull | Busy) and backend is not route.canary:
                raise retry_later(429, "queue_full", "too many requests wait", first.retry_after_s) from first
            faults.append(self._failed(call, tried[-1], name, first, f".{number}"))
            if asyncio.get_running_loop().time() >= call.deadline:
                break
        raise self._refusal(faults)

    def _failed(self, call: Call, progress: Progress, route: str, error: BaseException, suffix: str) -> str:
        """Record a failed attempt and return its fault. Raises Refusal or RequestRefused where no other
        backend would help.
        """
        if isinstance(error, RequestRefused):
            words = call.for_log(str(error))
            log.warning("the engine refuses a request: %s", words, extra={"request_id": call.request_id})
            raise error
        fault = _fault(error)
        self._recorder.failed(call, progress, route, fault, suffix, str(error))
        if isinstance(error, Overloaded):
            raise retry_later(504, "timeout", "no answer in time: the engine has too much to do", 1)
        return fault

    def _start(self, call: Call, progress: Progress) -> Stream:
        backend, now = progress.backend, asyncio.get_running_loop().time()
        deadline = min(call.deadline, now + self._settings.attempt_timeout_s)
        parent = trace.set_span_in_context(call.span)
        span = self._tracer.start_span("engine", parent, attributes={"nightshift.adapter": backend.name})
        question = call.question
        return Stream(backend.pieces(question.request, question.tenant, deadline, span), progress)

    async def _next_piece(self, call: Call, by: AnsweredBy, progress: Progress, stream: Stream) -> Piece:
        """The next piece. Raises Refusal if the answer breaks off."""
        piece = await stream.next()
        if isinstance(piece, Piece):
            return piece
        raise self._refusal([self._failed(call, progress, by.route, piece, ".late")])

    async def _finish(
        self, call: Call, by: AnsweredBy, progress: Progress, key: str | None, route: LoadedRoute
    ) -> None:
        """Record a whole answer, cache it, and let the shadow answer too."""
        self._recorder.answered(call, by, progress)
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
    if isinstance(error, QueueFull | Busy | Overloaded):
        return "full"
    if isinstance(error, OpenedState):
        return "circuit open"
    if not isinstance(error, EngineError):
        log.error("the engine raised an unexpected error", exc_info=error)
    return "engine"
