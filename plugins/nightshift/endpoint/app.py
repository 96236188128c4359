"""Where alerts come in: a small app that Airflow's API server mounts under /nightshift/alerts.

It answers 200 once a delivery is in the ledger's inbox, and 503 while it cannot be written, so that its
sender sends it again. Airflow's login does not cover a plugin's app, so this one checks the sender itself.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import FastAPI, HTTPException, Request
from pydantic import ValidationError
from starlette.datastructures import Headers

from nightshift.endpoint.payloads import FORMATS, JsonBody, WebhookBody
from nightshift.endpoint.senders import TIMESTAMP, check_headers, check_signature
from nightshift.endpoint.writer import InboxWriter
from nightshift.settings import Settings
from nightshift.traces import W3C


def create_app(settings: Settings) -> FastAPI:
    """The endpoint of one home. The ledger is opened at the first delivery."""
    app = FastAPI(title="Nightshift alerts", openapi_url=None)
    limits, inbox = settings.config.alerts, InboxWriter(settings)

    @app.post("/{source}")
    async def receive(source: Literal["alertmanager", "json"], request: Request) -> dict[str, Any]:
        from pipelines.stores.inbox import delivery_row, warnings

        now = datetime.now(UTC)
        signed = check_headers(settings, request.headers, now)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "Send application/json.")
        body = await _read(request, limits.max_body_bytes, limits.body_timeout_s)
        if signed:
            check_signature(settings, request.headers, body)
        payload = _parse(source, body)
        # Alertmanager repeats a delivery word for word: the same body counts as new after a while.
        replay = request.headers[TIMESTAMP] if signed else str(int(now.timestamp() // limits.max_skew_s))
        alerts, parts = payload.rows(), (body, replay.encode())
        row = delivery_row(source, payload.sender, alerts, parts, _traceparent(request.headers), now)
        new, doubts = await inbox.keep(row), warnings(alerts)
        return {"id": row["id"], "new": new, **({"warnings": doubts} if doubts else {})}

    return app


def _parse(source: str, body: bytes) -> JsonBody | WebhookBody:
    """Raises HTTPException: 400 for what is not JSON, 422 for what is not the format, with the place."""
    try:
        return FORMATS[source].model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        status = 400 if first["type"] == "json_invalid" else 422
        raise HTTPException(status, f"{where}: {first['msg']}".lstrip(": ")) from None


async def _read(request: Request, limit: int, timeout_s: float) -> bytes:
    """The body. Raises HTTPException as soon as it is too large (413) or too slow (408)."""
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in request.stream():
                body += piece
                if len(body) > limit:
                    raise HTTPException(413, f"The body has more than {limit} bytes.")
    except TimeoutError:
        raise HTTPException(408, f"The body was not complete within {timeout_s} s.") from None
    return bytes(body)


def _traceparent(headers: Headers) -> str:
    """The sender's trace, or a new one; whatever the alert starts belongs to it."""
    given = headers.get("traceparent", "")
    return given if W3C.fullmatch(given) else f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
