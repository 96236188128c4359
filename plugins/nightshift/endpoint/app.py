"""Where alerts come in: a small app that Airflow's API server mounts under /nightshift/alerts.

It answers 200 once a delivery is in the ledger's inbox, and 503 while it cannot be written, so that its
sender sends it again. Airflow's login does not cover a plugin's app, so this one checks the sender itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.datastructures import Headers

from nightshift.endpoint.description import ERRORS, describe, operation
from nightshift.endpoint.payloads import FORMATS
from nightshift.endpoint.reading import MOST_SAID, Batch, SetAside, read_batch, shortly
from nightshift.endpoint.repeats import Repeats
from nightshift.endpoint.senders import RETRY_AFTER_S, TIMESTAMP, check_headers, check_signature
from nightshift.endpoint.writer import InboxWriter
from nightshift.settings import Settings
from nightshift.traces import W3C
from pipelines.core.config import Alerts

MOST_UNPROVEN = 4  # bodies that arrive before it is known who sends them
RETRY = {"Retry-After": str(RETRY_AFTER_S)}
log = logging.getLogger("nightshift")


class Kept(BaseModel):
    """The answer to a delivery that is in the inbox. `new` is false for a repeated one."""

    id: str
    new: bool
    warnings: list[str] = []
    set_aside: list[SetAside] = []


def create_app(settings: Settings) -> FastAPI:
    """The endpoint of one home. The ledger is opened at the first delivery."""
    app = FastAPI(title="Nightshift alerts", version="1", docs_url=None, redoc_url=None)
    limits, inbox = settings.config.alerts, InboxWriter(settings)
    repeats, unproven = Repeats(limits.max_skew_s), asyncio.Semaphore(MOST_UNPROVEN)

    async def receive(source: str, request: Request) -> Kept:
        now = datetime.now(UTC)
        signed = check_headers(settings, request.headers, now)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "Send application/json.")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise HTTPException(415, "Send the body without a Content-Encoding.")
        body = await _proven_body(request) if signed else await _read(request, limits)
        batch = await run_in_threadpool(read_batch, source, body)
        # Alertmanager repeats a delivery word for word: the same body counts as new after a while.
        replay = request.headers[TIMESTAMP] if signed else repeats.replay_id(source, body, batch.alerts, now)
        parts, trace = (body, replay.encode()), _traceparent(request.headers)
        row, said = await run_in_threadpool(_delivery, source, batch, parts, trace, now)
        return Kept(id=row["id"], new=await inbox.keep(row), **said)

    async def _proven_body(request: Request) -> bytes:
        """The body of a signed delivery. Whoever cannot sign holds few of them in memory."""
        if unproven.locked():
            raise HTTPException(503, "Too many signed bodies arrive at once. Send it again.", RETRY)
        async with unproven:
            body = await _read(request, limits)
            check_signature(settings, request.headers, body)
        return body

    def add(source: str) -> None:
        @app.post(
            f"/{source}",
            response_model_exclude_defaults=True,
            responses=ERRORS,
            openapi_extra=operation(source),
            name=source,
        )
        async def of_source(request: Request) -> Kept:
            return await receive(source, request)

    for source in FORMATS:
        add(source)

    @app.post("/{source}", include_in_schema=False)
    async def unknown(source: str) -> None:
        raise HTTPException(422, f"There is no source {source[:40]!r}: known are {', '.join(FORMATS)}.")

    return describe(app)


def _delivery(
    source: str, batch: Batch, parts: tuple[bytes, bytes], traceparent: str, now: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The row of a delivery, and what its sender is told."""
    from pipelines.stores.inbox import delivery_row, incomplete, warnings

    doubts = shortly([*batch.problems(), *batch.doubts, *batch.cut, *warnings(batch.alerts)])
    if doubts:
        log.warning("alerts: a delivery of %s by %r: %s", source, batch.sender, "; ".join(doubts))
    problem = "; ".join(batch.problems())
    own = [incomplete(source, batch.sender, problem)] if problem else []
    row = delivery_row(source, batch.sender, [*batch.alerts, *own], parts, traceparent, now)
    return row, {"warnings": doubts, "set_aside": _set_aside(batch)}


def _set_aside(batch: Batch) -> list[SetAside]:
    return [SetAside(alert=position, reason=reason) for position, reason in batch.set_aside[:MOST_SAID]]


async def _read(request: Request, limits: Alerts) -> bytes:
    """The body. Raises HTTPException as soon as it is too large (413) or too slow (408)."""
    body, limit, timeout_s = bytearray(), limits.max_body_bytes, limits.body_timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in request.stream():
                body += piece
                if len(body) > limit:
                    raise HTTPException(
                        413, f"The body has more than {limit} bytes: send fewer alerts at once (max_alerts)."
                    )
    except TimeoutError:
        raise HTTPException(408, f"The body was not complete within {timeout_s} s.") from None
    return bytes(body)


def _traceparent(headers: Headers) -> str:
    """The sender's trace, or a new one; whatever the alert starts belongs to it."""
    given = headers.get("traceparent", "")
    return given if W3C.fullmatch(given) else f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
