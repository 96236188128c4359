"""The parts of one gateway and what happens to a call between HTTP and the desk."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.engines.base import Completion, Engine, Piece
from gateway.errors import Refusal
from gateway.http.auth import Caller, Verifier
from gateway.http.limits import Quotas
from gateway.http.schemas import ChatRequest, PredictRequest
from gateway.metrics import Metrics
from gateway.serving.backends import Backends
from gateway.serving.cache import make_cache
from gateway.serving.calls import Call, Shown
from gateway.serving.dispatcher import Desk
from gateway.serving.live_route import Rollout
from pipelines.core.config import Config
from pipelines.core.traffic_split import Adapter
from pipelines.stores import open_ledger
from pipelines.stores.journal.writer import Journal, journal_path

log = logging.getLogger("nightshift.gateway")


class Service:
    """The parts of one gateway, made inside its event loop."""

    def __init__(
        self, config: Config, engine: Engine, fetch: Callable[[Adapter], Path], tracer: trace.Tracer
    ) -> None:
        settings = config.gateway
        self.config, self.engine, self.tracer = config, engine, tracer
        self.metrics = Metrics()
        self.verifier = Verifier(settings, config.path(settings.jwks))
        self.quotas = Quotas(settings)
        self.cache = make_cache(settings)
        backends = Backends(engine, settings, self.metrics)
        self.rollout = Rollout(open_ledger(config), backends, fetch, tracer)
        path = journal_path(config.home)
        self.journal = Journal(path, settings.journal_commit_ms, settings.journal_queue)
        key = routing_key(path.parent)
        self.desk = Desk(
            config, key, self.rollout, self.cache, self.journal, self.quotas, self.metrics, tracer
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows the ledger; on the way out everything answered is written before it returns."""
        follower = asyncio.create_task(self.rollout.follow(self.config.gateway.poll_s))
        self.desk.shadows.start()
        try:
            yield
        finally:
            follower.cancel()
            await asyncio.wait([follower])
            await self.desk.shadows.stop()
            await asyncio.to_thread(self.journal.close)
            await self.cache.close()
            await self.engine.close()

    async def caller(self, request: Request) -> Caller:
        return await self.verifier.caller(request.headers.get("authorization"))

    async def call(
        self, request: Request, caller: Caller, body: ChatRequest | PredictRequest, completion: Completion
    ) -> Call:
        """Hold a request against the limits and make it a call. Raises Refusal."""
        settings = self.config.gateway
        size = sum(len(message["content"].encode()) for message in completion.messages)
        if size > settings.max_prompt_bytes:
            words = f"a conversation may have {settings.max_prompt_bytes} bytes"
            raise Refusal(400, "context_length_exceeded", words)
        if completion.max_tokens > settings.max_tokens:
            raise Refusal(400, "max_tokens_exceeded", f"max_tokens may be {settings.max_tokens} at most")
        await self.quotas.enter(caller.tenant)
        now, context = (
            asyncio.get_running_loop().time(),
            TraceContextTextMapPropagator().extract(request.headers),
        )
        span = self.tracer.start_span(request.url.path, context, trace.SpanKind.SERVER)
        return Call(
            request_id=f"chatcmpl-{secrets.token_hex(16)}",
            caller=caller,
            subject=body.user or caller.client,
            request=completion,
            locale=body.locale,
            channel=body.channel,
            opt_out=body.opt_out or request.headers.get("x-opt-out", "").lower() in ("1", "true"),
            at=datetime.now(UTC),
            started=now,
            deadline=now + settings.timeout_s,
            span=span,
        )

    async def answer(self, call: Call, shown: Shown) -> AsyncIterator[Piece]:
        """The desk's answer with its span and its line in the log."""
        status, tokens = "aborted", 0
        try:
            async with aclosing(self.desk.answer(call, shown)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    tokens += piece.tokens_out
                    if piece.finish_reason:
                        status = "answered"
                    yield piece
        except Refusal as refusal:
            status = refusal.code
            raise
        finally:
            call.span.set_attributes({"nightshift.adapter": shown.adapter, "nightshift.route": shown.route})
            call.span.end()
            log.info("call", extra=self._line(call, shown, status, tokens))

    def _line(self, call: Call, shown: Shown, status: str, tokens: int) -> dict[str, Any]:
        took = asyncio.get_running_loop().time() - call.started
        return {
            "request_id": call.request_id,
            "trace_id": trace.format_trace_id(call.span.get_span_context().trace_id),
            "tenant": call.caller.tenant,
            "status": status,
            "adapter": shown.adapter,
            "route": shown.route,
            "fallback": shown.fallback,
            "cached": shown.cached,
            "tokens_out": tokens,
            "latency_ms": round(took * 1000, 1),
        }


def routing_key(folder: Path) -> bytes:
    """The secret that places people; made where there is none. All gateways of one route need the same."""
    file = folder / "routing.key"
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(secrets.token_bytes(32))
    return file.read_bytes()
