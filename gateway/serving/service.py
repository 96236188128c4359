"""Puts the parts of one gateway together, and takes a question through admission, answer, trace and log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context

from gateway.engines.base import CompletionRequest, Piece, RequestRefused, ServingEngine
from gateway.errors import Refusal
from gateway.metrics import Metrics
from gateway.serving.backends import Backends
from gateway.serving.cache import make_cache
from gateway.serving.calls import AnsweredBy, Call, Question, size_of
from gateway.serving.dispatcher import Dispatcher
from gateway.serving.live_route import LiveRoute
from gateway.serving.membership import Membership
from gateway.serving.probes import Probes
from gateway.serving.quotas import Quotas, estimate_tokens
from gateway.serving.records import Recorder
from gateway.serving.routing_key import new_request_id, routing_key, was_given
from gateway.serving.shadows import Shadows
from gateway.serving.shared_redis import CHECK_EVERY_S, SharedRedis
from gateway.serving.workers import keep_working
from pipelines.core.config import Config, Gateway
from pipelines.core.probes import ProbeSet
from pipelines.core.traffic_split import Adapter
from pipelines.stores import open_gateways, open_journal, open_journal_writer, open_ledger
from pipelines.stores.ledger import Ledger

LEDGER_WAIT_S = 2.0
log = logging.getLogger("nightshift.gateway")


class Service:
    """The parts of one gateway. Make it inside the event loop that it runs in.

    `url`: where other gateways reach it.
    """

    def __init__(
        self,
        config: Config,
        engine: ServingEngine,
        fetch: Callable[[Adapter], Path],
        tracer: trace.Tracer,
        probes_of: Callable[[Adapter], ProbeSet | None] | None = None,
        url: str = "",
    ) -> None:
        settings = config.gateway
        self.config, self.engine, self.tracer = config, engine, tracer
        self._key = routing_key(config)
        self.metrics = Metrics()
        self.redis = SharedRedis(config, self.metrics) if settings.redis_url else None
        self.quotas = Quotas(settings, self.redis)
        self.cache = make_cache(settings, self.redis)
        backends = Backends(engine, settings, self.metrics)
        gateways = open_gateways(config)
        self.journal = open_journal_writer(config)
        spool = self.journal.shipper
        self.fleet = Membership(config, gateways, self._key, url, spool) if gateways else None
        self.probes = Probes(backends, config.serving, probes_of)
        self.live_route = LiveRoute(_open_ledger(config), backends, fetch, self.probes, tracer, self.fleet)
        self.shadows = Shadows(settings, self.live_route, self.journal, self.metrics)
        self.dispatcher = Dispatcher(
            config,
            self._key,
            self.live_route,
            self.cache,
            Recorder(self.journal, self.metrics),
            self.shadows,
            self.metrics,
            tracer,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the ledger until the block ends, then write everything that was answered."""

        async def follow() -> None:
            await self.live_route.update()
            await asyncio.sleep(self.config.gateway.poll_s)

        workers = [
            asyncio.create_task(keep_working("live route", follow, self.metrics)),
            asyncio.create_task(keep_working("probe", self.probes.turn, self.metrics)),
        ]
        if self.fleet:
            workers.append(asyncio.create_task(keep_working("heartbeat", self.fleet.turn, self.metrics)))
        if self.redis:
            workers.append(asyncio.create_task(keep_working("redis", self._follow_redis, self.metrics)))
        self.shadows.start()
        try:
            yield
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
            await self.live_route.close()
            await self.shadows.stop()
            await asyncio.to_thread(self.journal.close)
            await self.quotas.close()
            if self.redis:
                await self.redis.close()
            await self.engine.close()
            if self.fleet:
                await self.fleet.close()

    async def _follow_redis(self) -> None:
        """See whether Redis answers; tell it what was counted while it did not."""
        assert self.redis
        is_back = await self.redis.check()
        await self.quotas.say_all(today=is_back)
        await asyncio.sleep(CHECK_EVERY_S)

    @property
    def is_ready(self) -> bool:
        """Whether users are answered, by what was promoted, and their answers written down."""
        route = self.live_route.current
        return route is not None and not route.production.wrong and self.journal.is_alive

    @property
    def problem(self) -> str:
        """What a person should look at, "" if nothing; users may be answered all the same."""
        shipper = self.journal.shipper
        problems = [
            self.live_route.problem,
            self.probes.problem,
            self.probes.note,
            self.journal.problem,
            shipper.problem if shipper else "",
            self.fleet.problem if self.fleet else "",
            self.redis.problem if self.redis else "",
        ]
        found = "; ".join(filter(None, dict.fromkeys(problems)))
        return found.replace(str(Path(self.config.home).absolute()), "{home}")

    @property
    def has_contact(self) -> bool:
        """Whether this gateway knows of the newest move of the traffic split."""
        return self.fleet is None or self.fleet.has_contact

    def update_gauges(self) -> None:
        """Set the metrics that are read when they are asked for."""
        self.metrics.engine_restarts.set(self.engine.restarts)
        self.metrics.contact.set(self.has_contact)
        self.metrics.move_waits.set(bool(self.fleet and self.fleet.waiting))
        gone = self.fleet.gone if self.fleet else []
        self.metrics.others_gone.set(len(gone))
        self.metrics.others_left_rows.set(sum(one.spool_rows for one in gone))
        self.metrics.redis_away.set(bool(self.redis and self.redis.problem))
        self.metrics.journal_waiting.set(self.journal.waiting)
        self.metrics.journal_lost.set(self.journal.lost)
        self.metrics.journal_set_aside.set(self.journal.set_aside)
        if shipper := self.journal.shipper:
            rows, age_s = shipper.backlog()
            self.metrics.spool_rows.set(rows)
            self.metrics.spool_age.set(age_s)
            self.metrics.journal_set_aside.set(self.journal.set_aside + shipper.set_aside)
            self.metrics.feedback_without_answer.set(shipper.without_answer)

    async def is_known(self, request_id: str, tenant: str) -> bool:
        """Whether feedback of a tenant on this request can be stored.

        In SQLite the journal tells that itself. With PostgreSQL the id does, as the answer may lie in the
        spool of another gateway. Only ids of older versions are looked up. Raises SQLAlchemyError.
        """
        if self.journal.shipper is None or was_given(self._key, tenant, request_id):
            return True
        return await asyncio.to_thread(open_journal(self.config).has_answer, request_id, tenant)

    async def admit(self, question: Question, name: str, context: Context) -> Call:
        """Make a question a call; its span `name` belongs to the trace of `context`.

        Raises Refusal if the question is too long or the tenant has used up its quota.
        """
        settings = self.config.gateway
        size = _check_size(question.request, settings)
        reserved = estimate_tokens(size, _most_tokens(question.request))
        reservation = await self.quotas.reserve(question.tenant, reserved)
        now = asyncio.get_running_loop().time()
        return Call(
            question=question,
            reservation=reservation,
            request_id=new_request_id(self._key, question.tenant),
            at=datetime.now(UTC),
            started=now,
            deadline=now + settings.timeout_s,
            span=self.tracer.start_span(name, context, trace.SpanKind.SERVER),
        )

    async def answer(self, call: Call, by: AnsweredBy) -> AsyncIterator[Piece]:
        """The pieces of the answer, see `Dispatcher.answer`. Ends the call's span and logs one line."""
        status, tokens = "aborted", 0
        try:
            async with aclosing(self.dispatcher.answer(call, by)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    tokens += piece.tokens_out
                    if piece.finish_reason:
                        status = "answered"
                    yield piece
        except (Refusal, RequestRefused) as refusal:
            status = refusal.code
            raise
        finally:
            call.reservation.settle(by.used_tokens)
            call.span.set_attributes({"nightshift.adapter": by.adapter, "nightshift.route": by.route})
            call.span.end()
            log.info("call", extra=_log_fields(call, by, status, tokens))


def _open_ledger(config: Config) -> Ledger:
    """The ledger. A database that is away is waited for now, and never again: the route stays as it is."""
    open_ledger(config)
    return open_ledger(config, LEDGER_WAIT_S)


def _check_size(request: CompletionRequest, settings: Gateway) -> int:
    """The bytes of a conversation."""
    size = size_of(request)
    if size > settings.max_prompt_bytes:
        message = f"a conversation may have {settings.max_prompt_bytes} bytes, this one has {size}"
        raise Refusal(400, "context_length_exceeded", message, param="messages")
    return size


def _most_tokens(request: CompletionRequest) -> int:
    """The most tokens that an answer may have. A choice has at most one a byte."""
    if request.choices is None:
        return request.max_tokens
    return max((len(choice.encode(errors="replace")) for choice in request.choices), default=0)


def _log_fields(call: Call, by: AnsweredBy, status: str, tokens: int) -> dict[str, Any]:
    seconds = asyncio.get_running_loop().time() - call.started
    return {
        "request_id": call.request_id,
        "trace_id": trace.format_trace_id(call.span.get_span_context().trace_id),
        "tenant": call.question.tenant,
        "status": status,
        "adapter": by.adapter,
        "route": by.route,
        "fallback": by.fallback,
        "cached": by.cached,
        "tokens_out": tokens,
        "latency_ms": round(seconds * 1000, 1),
    }
