"""Answers a call: chooses the side, looks into the cache, asks the adapter, falls back, keeps the row."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

from opentelemetry import trace
from purgatory.domain.model import OpenedState

from gateway.engines.base import Busy, EngineError, Piece
from gateway.errors import Refusal, later
from gateway.http.limits import Quotas
from gateway.metrics import Metrics
from gateway.serving.backends import Backend, Full
from gateway.serving.cache import Cache, key_of
from gateway.serving.calls import Call, Progress, Shown, Stream
from gateway.serving.live_route import Live, Rollout
from gateway.serving.shadows import Shadows
from pipelines.core.config import Config
from pipelines.core.traffic_split import side
from pipelines.stores.journal.writer import Journal

log = logging.getLogger("nightshift.gateway")


class Desk:
    """Everything between the HTTP handlers and the engine."""

    def __init__(
        self,
        config: Config,
        key: bytes,
        rollout: Rollout,
        cache: Cache,
        journal: Journal,
        quotas: Quotas,
        metrics: Metrics,
        tracer: trace.Tracer,
    ) -> None:
        self._base, self._settings, self._key = config.model.base, config.gateway, key
        self._rollout, self._cache, self._journal = rollout, cache, journal
        self._quotas, self._metrics, self._tracer = quotas, metrics, tracer
        self.shadows = Shadows(config.gateway, rollout, journal, metrics)

    async def answer(self, call: Call, shown: Shown) -> AsyncIterator[Piece]:
        """The answer's pieces; `shown` is filled before the first. Raises Refusal.

        The row is queued before the last piece is given out, so feedback on an answer always finds it.
        """
        live = self._rollout.live
        if live is None:
            raise later(503, "not_ready", "the adapters are being loaded", 1)
        with live.lease():
            chosen = live.production
            if side(live.route, self._key, call.caller.tenant, call.subject) == "canary":
                assert live.canary is not None
                chosen, shown.route = live.canary, "canary"
            key = key_of(self._base, chosen.digest, call.caller.tenant, call.request)
            cached = await self._cache.get(key) if key else None
            self._metrics.cache.labels("hit" if cached else "miss" if key else "skipped").inc()
            if cached:
                shown.adapter, shown.cached = chosen.name, True
                await self._keep(call, shown, _whole(chosen, cached))
                yield cached
                return
            progress, stream, piece = await self._first(call, shown, live, chosen)
            try:
                while not progress.last:
                    progress.take(piece)
                    if progress.last:
                        await self._finish(call, shown, progress, key, live)
                    yield piece
                    if not progress.last:
                        piece = await self._next(call, shown, progress, stream)
            except (asyncio.CancelledError, GeneratorExit):
                if not progress.last:
                    self._failed(call, progress, shown.route, call.request_id, "aborted")
                raise
            finally:
                stream.cancel()

    async def _first(
        self, call: Call, shown: Shown, live: Live, chosen: Backend
    ) -> tuple[Progress, Stream, Piece]:
        """The first piece of the first contender that gives one."""
        faults = []
        for number, backend in enumerate(live.contenders(chosen)):
            route = "canary" if backend is live.canary else "production"
            progress = Progress(backend)
            stream = self._ask(call, backend)
            try:
                first = await stream.next()
            except asyncio.CancelledError:
                stream.cancel()
                raise
            if isinstance(first, Piece):
                shown.adapter, shown.route, shown.fallback = backend.name, route, backend is not chosen
                return progress, stream, first
            if isinstance(first, Full | Busy) and backend is not live.canary:
                raise later(429, "queue_full", "too many requests wait", first.retry_after_s) from first
            fault = _fault(first)
            faults.append(fault)
            self._failed(call, progress, route, f"{call.request_id}.{number}", fault, call.request_id)
            if asyncio.get_running_loop().time() >= call.deadline:
                break
        raise self._none(faults)

    def _ask(self, call: Call, backend: Backend) -> Stream:
        now = asyncio.get_running_loop().time()
        deadline = min(call.deadline, now + self._settings.attempt_timeout_s)
        parent = trace.set_span_in_context(call.span)
        span = self._tracer.start_span("engine", parent, attributes={"nightshift.adapter": backend.name})
        return Stream(backend.pieces(call.request, deadline, span))

    async def _next(self, call: Call, shown: Shown, progress: Progress, stream: Stream) -> Piece:
        """The next piece. Raises Refusal when the answer breaks off."""
        piece = await stream.next()
        if isinstance(piece, Piece):
            return piece
        fault = _fault(piece)
        self._failed(call, progress, shown.route, f"{call.request_id}.late", fault, call.request_id)
        raise self._none([fault])

    async def _finish(
        self, call: Call, shown: Shown, progress: Progress, key: str | None, live: Live
    ) -> None:
        await self._keep(call, shown, progress)
        if shown.fallback:
            return
        if key and progress.last and not call.opt_out:
            last, text = progress.last, "".join(progress.texts)
            await self._cache.put(key, replace(last, text=text))
        if shown.route == "production":
            self.shadows.offer(call, live)

    async def _keep(self, call: Call, shown: Shown, progress: Progress) -> None:
        """The answer is whole: row, metrics, quota."""
        row = progress.row(
            call, shown.route, call.started, call.request_id, cached=shown.cached, fallback=shown.fallback
        )
        self._journal.add(row)
        names, metrics = (row.adapter, row.route), self._metrics
        metrics.answers.labels(*names).inc()
        metrics.latency.labels(*names).observe(row.latency_ms / 1000)
        if row.first_token_ms is not None:
            metrics.first_token.labels(*names).observe(row.first_token_ms / 1000)
        if shown.fallback:
            metrics.fallbacks.labels(*names).inc()
        if not shown.cached:
            metrics.tokens_in.labels(*names).inc(row.tokens_in)
            metrics.tokens_out.labels(*names).inc(row.tokens_out)
            await self._quotas.spend(call.caller.tenant, row.tokens_in + row.tokens_out)

    def _failed(
        self, call: Call, progress: Progress, route: str, name: str, fault: str, parent: str | None = None
    ) -> None:
        self._metrics.failures.labels(progress.backend.name, route, fault).inc()
        row = progress.row(call, route, call.started, name, fault=fault, parent=parent)
        self._journal.add(row)
        log.warning(
            "an attempt failed",
            extra={"request_id": call.request_id, "adapter": row.adapter, "route": route, "fault": fault},
        )

    def _none(self, faults: list[str]) -> Refusal:
        if "timeout" in faults:
            return Refusal(504, "timeout", "no answer in time")
        if set(faults) == {"circuit open"}:
            return later(503, "circuit_open", "the engine fails", self._settings.breaker_reset_s)
        return Refusal(502, "engine_failed", "the engine could not answer")


def _fault(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, Full | Busy):
        return "full"
    if isinstance(error, OpenedState):
        return "circuit open"
    if not isinstance(error, EngineError):
        log.error("the engine broke", exc_info=error)
    return "engine"


def _whole(backend: Backend, piece: Piece) -> Progress:
    progress = Progress(backend)
    progress.take(piece)
    return progress
