"""The HTTP surface: OpenAI's API, /predict, feedback, health and metrics."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from opentelemetry import trace
from pydantic import ValidationError
from starlette.types import Send

from gateway.engines.base import Completion, Engine, Piece
from gateway.errors import Refusal, later
from gateway.http.auth import Caller
from gateway.http.body import Clients
from gateway.http.schemas import (
    DONE,
    ChatRequest,
    Chunks,
    FeedbackRequest,
    PredictRequest,
    chat_answer,
    event,
    headers,
)
from gateway.serving.calls import Shown
from gateway.serving.service import Service
from pipelines.core.config import Config
from pipelines.core.traffic_split import Adapter

FEEDBACK_PATIENCE_S = 10.0
_NO_TRACER = trace.NoOpTracer()


class EventStream(StreamingResponse):
    """Closes its generator itself when the client goes away, so that the call's row is written then."""

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)


def create_app(
    config: Config,
    engine: Engine,
    fetch: Callable[[Adapter], Path],
    tracer: trace.Tracer = _NO_TRACER,
) -> FastAPI:
    """The gateway over an engine; `fetch` finds a routed adapter's folder and may block."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = Service(config, engine, fetch, tracer)
        async with app.state.service.running():
            yield

    app = FastAPI(title="Nightshift", lifespan=lifespan, docs_url=None, redoc_url=None)
    settings = config.gateway
    app.add_middleware(Clients, most_bytes=settings.max_body_bytes, patience_s=settings.client_timeout_s)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(ValidationError, _invalid)
    model = config.register_.name

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        service = _service(request)
        caller = await service.caller(request)
        body = ChatRequest.model_validate_json(await request.body())
        _check_model(caller, body.model, model)
        call = await service.call(request, caller, body, body.completion(config.model.max_new_tokens))
        shown = Shown()
        pieces = service.answer(call, shown)
        first = await anext(pieces)
        at = int(call.at.timestamp())
        if body.stream:
            wants_usage = bool(body.stream_options and body.stream_options.include_usage)
            chunks = Chunks(call.request_id, body.model, at, shown)
            return EventStream(
                _events(chunks, first, pieces, wants_usage),
                headers=headers(call.request_id, shown) | {"Cache-Control": "no-cache"},
                media_type="text/event-stream",
            )
        whole = [first, *[piece async for piece in pieces]]
        answer = chat_answer(call.request_id, body.model, at, shown, whole)
        return JSONResponse(answer, headers=headers(call.request_id, shown))

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        service = _service(request)
        caller = await service.caller(request)
        body = PredictRequest.model_validate_json(await request.body())
        _check_model(caller, model, model)
        call = await service.call(request, caller, body, _prediction(config, body.text))
        shown = Shown()
        whole = [piece async for piece in service.answer(call, shown)]
        answer = {
            "request_id": call.request_id,
            "label": "".join(piece.text for piece in whole),
            "adapter": shown.adapter,
            "route": shown.route,
            "fallback": shown.fallback,
            "cached": shown.cached,
        }
        return JSONResponse(answer, headers=headers(call.request_id, shown))

    @app.post("/v1/feedback")
    async def feedback(request: Request) -> dict[str, str]:
        service = _service(request)
        caller = await service.caller(request)
        if "feedback" not in caller.scopes:
            raise Refusal(403, "insufficient_scope", "the token lacks the scope `feedback`")
        body = FeedbackRequest.model_validate_json(await request.body())
        await service.quotas.knock(caller.tenant)
        try:
            kept = service.journal.feedback(body.request_id, caller.tenant, body.rating, body.correction)
            result = await asyncio.wait_for(asyncio.wrap_future(kept), FEEDBACK_PATIENCE_S)
        except (queue.Full, TimeoutError):
            raise later(503, "not_stored", "the feedback is not stored: send it again", 1) from None
        service.metrics.feedback.labels(result).inc()
        if result == "unknown":
            raise Refusal(404, "unknown_request", "this tenant got no answer with that id")
        return {"request_id": body.request_id, "result": result}

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        caller = await _service(request).caller(request)
        found = [{"id": model, "object": "model", "created": 0, "owned_by": "nightshift"}]
        return {"object": "list", "data": found if caller.may_use(model) else []}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz(request: Request) -> Response:
        service = _service(request)
        live = service.rollout.live
        ready = live is not None and service.journal.writes
        body = {
            "ready": ready,
            "promotion": live.number if live else None,
            "production": live.production.name if live else None,
            "canary": live.canary.name if live and live.canary else None,
            "shadow": live.shadow.name if live and live.shadow else None,
            "problem": service.rollout.problem,
        }
        return JSONResponse(body, 200 if ready else 503)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        service = _service(request)
        service.metrics.journal_waiting.set(service.journal.waiting)
        service.metrics.journal_lost.set(service.journal.lost)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return app


def _service(request: Request) -> Service:
    return request.app.state.service


def _check_model(caller: Caller, asked: str, known: str) -> None:
    if asked != known or not caller.may_use(asked):
        raise Refusal(404, "model_not_found", "no such model, or the token's scopes do not cover it")


def _prediction(config: Config, text: str) -> Completion:
    """The task as it is trained and evaluated: system prompt, text, one of the labels."""
    if not config.task.labels:
        raise Refusal(404, "no_labels", "the task has no labels: use /v1/chat/completions")
    system = config.task.system_prompt
    messages = [{"role": "system", "content": system}] if system else []
    return Completion([*messages, {"role": "user", "content": text}], choices=config.task.labels)


async def _events(
    chunks: Chunks, first: Piece, pieces: AsyncIterator[Piece], wants_usage: bool
) -> AsyncIterator[bytes]:
    async with aclosing(pieces) as rest:  # type: ignore[type-var]
        last = first
        yield chunks.event(first)
        try:
            async for last in rest:
                yield chunks.event(last)
        except Refusal as refusal:  # the status was sent long ago
            yield event(refusal.body())
            return
        if wants_usage:
            yield chunks.usage(last)
        yield DONE


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    _service(request).metrics.refusals.labels(error.status, error.code).inc()
    return JSONResponse(error.body(), error.status, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    """The first thing that is wrong with a body, without repeating what was sent."""
    assert isinstance(error, ValidationError)
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return await _refused(request, Refusal(400, "invalid_request", f"{where}: {first['msg']}"))
