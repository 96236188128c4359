"""Copies of users' requests for the shadow adapter: in the background, bounded, dropped first."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, suppress
from dataclasses import replace

from opentelemetry import trace
from purgatory.domain.model import OpenedState

from gateway.engines.base import Busy, EngineError
from gateway.metrics import Metrics
from gateway.serving.backends import Full, as_background
from gateway.serving.calls import Call, Progress
from gateway.serving.live_route import Live, Rollout
from pipelines.core.config import Gateway
from pipelines.stores.journal.writer import Journal

log = logging.getLogger("nightshift.gateway")


class Shadows:
    """A few workers on a bounded queue. Nothing here can reach a user."""

    def __init__(self, settings: Gateway, rollout: Rollout, journal: Journal, metrics: Metrics) -> None:
        self._settings, self._rollout, self._journal, self._metrics = settings, rollout, journal, metrics
        self._waiting: asyncio.Queue[tuple[Call, Live, ExitStack]] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._settings.shadow_concurrency)]

    async def stop(self) -> None:
        """Copies that wait are dropped: they are nobody's answer."""
        for worker in self._workers:
            worker.cancel()
        for worker in self._workers:
            with suppress(asyncio.CancelledError):
                await worker

    def offer(self, call: Call, live: Live) -> None:
        """Let the shadow answer it too, unless users wait already or enough copies do."""
        if live.shadow is None:
            return
        if live.production.is_crowded or self._waiting.qsize() >= self._settings.shadow_queue:
            self._metrics.shadows.labels("dropped").inc()
            return
        lease = ExitStack()
        lease.enter_context(live.lease())
        self._waiting.put_nowait((call, live, lease))

    async def _work(self) -> None:
        while True:
            call, live, lease = await self._waiting.get()
            with lease:
                if live is self._rollout.live:
                    await self._answer(call, live)
                else:
                    self._metrics.shadows.labels("dropped").inc()

    async def _answer(self, call: Call, live: Live) -> None:
        assert live.shadow is not None
        started = asyncio.get_running_loop().time()
        progress, fault = Progress(live.shadow), ""
        request, deadline = as_background(call.request), started + self._settings.attempt_timeout_s
        try:
            async for piece in live.shadow.pieces(request, deadline, trace.INVALID_SPAN):
                progress.take(piece)
        except (Full, Busy, TimeoutError, OpenedState):  # it waits for idle time: no fault of the adapter
            self._metrics.shadows.labels("dropped").inc()
            return
        except EngineError:
            fault = "engine"
        except Exception:  # whatever an engine raises: the worker goes on
            log.exception("the shadow's engine broke")
            fault = "engine"
        self._metrics.shadows.labels("failed" if fault else "answered").inc()
        name = f"{call.request_id}.shadow"
        row = progress.row(call, "shadow", started, name, parent=call.request_id, fault=fault)
        self._journal.add(replace(row, completion="") if fault else row)
        labels = (row.adapter, row.route)
        if fault:
            self._metrics.failures.labels(*labels, fault).inc()
        else:
            self._metrics.answers.labels(*labels).inc()
            self._metrics.latency.labels(*labels).observe(row.latency_ms / 1000)
