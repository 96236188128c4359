"""The routes for users: OpenAI's API, /predict and feedback."""

from __future__ import annotations

import asyncio
import json
import queue
import re
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError

from gateway.engines.base import CompletionRequest
from gateway.errors import Refusal, retry_later
from gateway.http.answer_schemas import FeedbackAnswer, ModelList, Prediction
from gateway.http.answers import answer_headers, answered_by, chat_answer
from gateway.http.auth import Caller
from gateway.http.errors import validated
from gateway.http.openapi import STREAM, asks
from gateway.http.schemas import ChatRequest, FeedbackRequest, PredictRequest
from gateway.http.streams import Chunks, EventStream, events
from gateway.http.strict_json import shown
from gateway.serving.calls import AnsweredBy, Call, Question
from gateway.serving.service import Service
from pipelines.core.config import Config
from pipelines.core.conversations import with_system
from pipelines.core.json_texts import NotJson, json_of
from pipelines.observability.tracing import context_of
from pipelines.stores.journal.entries import FeedbackResult

FEEDBACK_PATIENCE_S = 10.0
NO = ("", "0", "false", "no", "off")  # anything else in X-Opt-Out is an opt-out
_ENTRY = r"[a-z0-9][a-z0-9_*/@-]{0,255}=[!-+\--<>-~]{1,256}"
TRACESTATE = re.compile(rf"(?=.{{,512}}$){_ENTRY}(,{_ENTRY}){{,31}}")  # as W3C has it, without spaces
router = APIRouter()


_chat = asks(
    *(400, 404, 429, 502, 504),
    body=ChatRequest,
    model="department-router",
    messages=[{"role": "user", "content": "Which tooth erupts first?"}],
)
_chat["responses"] |= {200: STREAM}


@router.post("/v1/chat/completions", **_chat)
async def chat(request: Request) -> Response:
    """OpenAI's chat completions, whole or streamed."""
    service, caller = _service(request), await _caller(request)
    body = validated(ChatRequest, await request.body())
    _check_model(caller, body.model, service.config.register_.name)
    completion = body.completion(service.config.model.max_new_tokens)
    _check_length(body, completion, service.config)
    call, by = await _admit(request, caller, body, completion), AnsweredBy()
    pieces = service.answer(call, by)
    first = await anext(pieces)
    at = int(call.at.timestamp())
    if body.stream:
        wants_usage = bool(body.stream_options and body.stream_options.include_usage)
        chunks = Chunks(call.request_id, body.model, at, by)
        return EventStream(
            events(chunks, first, pieces, wants_usage),
            pieces,
            headers=answer_headers(call.request_id, by) | {"Cache-Control": "no-cache"},
            media_type="text/event-stream",
        )
    whole = [first, *[piece async for piece in pieces]]
    answer = chat_answer(call.request_id, body.model, at, by, whole)
    return JSONResponse(answer, headers=answer_headers(call.request_id, by))


@router.post(
    "/predict",
    response_model=Prediction,
    **asks(400, 404, 429, 502, 504, body=PredictRequest, text="Which tooth erupts first?"),
)
async def predict(request: Request) -> Response:
    """The task's answer to a text or a conversation: one of its labels, JSON by its schema, or free text."""
    service, caller = _service(request), await _caller(request)
    body = validated(PredictRequest, await request.body())
    model = service.config.register_.name
    _check_model(caller, model, model)
    call = await _admit(request, caller, body, _prediction(service.config, body))
    by = AnsweredBy()
    pieces = [piece async for piece in service.answer(call, by)]
    text = "".join(piece.text for piece in pieces).strip()
    value = _value(text) if call.question.request.json_schema else None
    said = {"label": text, "value": value, "finish_reason": pieces[-1].finish_reason}
    answer = {"request_id": call.request_id, **said, **answered_by(by)}
    return JSONResponse(answer, headers=answer_headers(call.request_id, by))


@router.post(
    "/v1/feedback",
    response_model=FeedbackAnswer,
    **asks(400, 403, 404, 429, body=FeedbackRequest, request_id="chatcmpl-1", rating=-1, correction="Dental"),
)
async def feedback(request: Request) -> dict[str, str]:
    """A rating or a correction of an earlier answer. Responds once it is on disk."""
    service, caller = _service(request), await _caller(request)
    if "feedback" not in caller.scopes:
        raise Refusal(403, "insufficient_scope", "the token lacks the scope `feedback`")
    body = validated(FeedbackRequest, await request.body())
    try:
        async with asyncio.timeout(FEEDBACK_PATIENCE_S):
            result = await _stored(service, caller.tenant, body)
    except (queue.Full, TimeoutError, SQLAlchemyError):
        raise _not_stored() from None
    service.metrics.feedback.labels(result).inc()
    if result == "unknown":
        raise Refusal(404, "unknown_request", "this tenant got no answer with that id")
    return {"request_id": body.request_id, "result": result}


async def _stored(service: Service, tenant: str, said: FeedbackRequest) -> FeedbackResult:
    if not await service.is_known(said.request_id, tenant):
        return "unknown"
    if service.journal.problem:  # a full disk, most likely: who waits would wait in vain
        raise _not_stored()
    stored = service.journal.feedback(said.request_id, tenant, said.rating, said.correction)
    return await asyncio.wrap_future(stored)


def _not_stored() -> Refusal:
    return retry_later(503, "not_stored", "the feedback is not stored: send it again", 1)


@router.get("/v1/models", response_model=ModelList, **asks(429))
async def models(request: Request) -> dict[str, Any]:
    """The one model, if the token covers it."""
    caller, model = await _caller(request), _service(request).config.register_.name
    found = [{"id": model, "object": "model", "created": 0, "owned_by": "nightshift"}]
    return {"object": "list", "data": found if caller.may_use(model) else []}


def _value(text: str) -> Any:
    """What a JSON text says; None where the answer was cut, or holds a number that JSON cannot."""
    try:
        return json_of(text)
    except NotJson:
        return None


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _caller(request: Request) -> Caller:
    """Who calls. The request counts from here on, whatever is in its body."""
    caller: Caller = await request.app.state.verifier.caller(request.headers.getlist("authorization"))
    await _service(request).quotas.check_rate(caller.tenant)
    return caller


async def _admit(
    request: Request, caller: Caller, body: ChatRequest | PredictRequest, completion: CompletionRequest
) -> Call:
    headers = request.headers
    question = Question(
        tenant=caller.tenant,
        subject=caller.subject(body.person),
        request=completion,
        locale=body.locale or "und",
        channel=body.channel or "api",
        opt_out=bool(body.opt_out) or opts_out(headers.getlist("x-opt-out")),
    )
    context = context_of(headers.get("traceparent", ""), tracestate(headers.get("tracestate", "")))
    return await _service(request).admit(question, request.url.path, context)


def tracestate(header: str) -> str:
    """The header, or "" where it is malformed: OpenTelemetry would write it into the log."""
    return header if TRACESTATE.fullmatch(header) else ""


def opts_out(values: Sequence[str]) -> bool:
    """Whether a header X-Opt-Out says so. A value that is not clearly a no is an opt-out."""
    return any(value.strip().lower() not in NO for value in values)


def _check_model(caller: Caller, asked: str, known: str) -> None:
    if asked != known or not caller.may_use(asked):
        message = f"there is no model {shown(asked)}, or the token's scopes do not cover it"
        raise Refusal(404, "model_not_found", message, param="model")


def _check_length(body: ChatRequest, completion: CompletionRequest, config: Config) -> None:
    """What the task itself generates is always allowed."""
    most = max(config.gateway.max_tokens, config.model.max_new_tokens)
    if completion.max_tokens > most:
        param = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
        message = f"an answer may have {most} tokens, and {param} is {shown(completion.max_tokens)}"
        raise Refusal(400, "max_tokens_exceeded", message, param=param)


def _prediction(config: Config, body: PredictRequest) -> CompletionRequest:
    """The task as it is trained and evaluated: system prompt, what is asked, and what an answer may be."""
    task = config.task
    if task.kind == "choose" and not task.labels:
        raise Refusal(404, "no_labels", "the task has no labels: use /v1/chat/completions")
    messages = with_system(body.turns, task.system_prompt)
    if task.labels:
        return CompletionRequest(messages, choices=task.labels)
    schema = json.dumps(task.json_schema, ensure_ascii=False) if task.json_schema else None
    return CompletionRequest(messages, config.model.max_new_tokens, json_schema=schema)
