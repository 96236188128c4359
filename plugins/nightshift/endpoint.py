"""Where alerts come in: a small app that Airflow's API server mounts under /nightshift/alerts.

A delivery is answered with 200 once it is in the ledger's inbox, and with 503 while it cannot be, so that its
sender comes again. Airflow's authentication does not reach a plugin's app: this one proves the sender itself.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from nightshift.settings import Settings

if TYPE_CHECKING:
    from pipelines.stores import open_inbox
    from pipelines.stores.inbox import Inbox

TIMESTAMP, SIGNATURE = "x-nightshift-timestamp", "x-nightshift-signature"
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
RETRY_AFTER_S = 5
REALM = {"WWW-Authenticate": 'Bearer realm="nightshift alerts"'}

Name = Annotated[str, Field(min_length=1, max_length=200)]
Short = Annotated[str, Field(max_length=200)]
Labels = Annotated[dict[Short, Annotated[str, Field(max_length=10_000)]], Field(max_length=100)]


class JsonAlert(BaseModel, extra="forbid"):
    """One alert of the plain format. Without `starts_at` it started now."""

    name: Name
    status: Literal["firing", "resolved"] = "firing"
    cause: Name
    severity: Short = "warning"
    labels: Labels = {}
    annotations: Labels = {}
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    fingerprint: Short = ""


class JsonBody(BaseModel, extra="forbid"):
    sender: Short = ""
    alerts: Annotated[list[JsonAlert], Field(min_length=1, max_length=10_000)]

    def rows(self) -> list[dict[str, Any]]:
        return [alert.model_dump() for alert in self.alerts]


class WebhookAlert(BaseModel):
    """One alert of Alertmanager's webhook. Other fields are let pass: its next version may add some."""

    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels = {}
    startsAt: AwareDatetime
    endsAt: AwareDatetime
    fingerprint: Short = ""


class WebhookBody(BaseModel):
    """Alertmanager's webhook, version 4."""

    version: Literal["4"]
    receiver: Short
    alerts: Annotated[list[WebhookAlert], Field(min_length=1)]

    @property
    def sender(self) -> str:
        return self.receiver

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "name": alert.labels.get("alertname") or "unnamed",
                "status": alert.status,
                "cause": alert.labels.get("cause", ""),
                "severity": alert.labels.get("severity", "warning"),
                "labels": alert.labels,
                "annotations": alert.annotations,
                "starts_at": alert.startsAt,
                "ends_at": alert.endsAt if alert.status == "resolved" else None,
                "fingerprint": alert.fingerprint,
            }
            for alert in self.alerts
        ]


FORMATS: dict[str, type[WebhookBody] | type[JsonBody]] = {"alertmanager": WebhookBody, "json": JsonBody}


def create_app(settings: Settings) -> FastAPI:
    """The endpoint of one home. The ledger is opened at the first delivery."""
    app = FastAPI(title="Nightshift alerts", openapi_url=None)
    limits, desk = settings.config.alerts, _Desk(settings)

    @app.post("/{source}")
    async def receive(source: Literal["alertmanager", "json"], request: Request) -> dict[str, Any]:
        from pipelines.stores.inbox import warnings

        now = datetime.now(UTC)
        signed = _may_call(settings, request, now)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "Send application/json.")
        body = await _read(request, limits.max_body_bytes, limits.body_timeout_s)
        if signed and not _fits(settings, request, body):
            raise HTTPException(401, "The signature does not fit.", REALM)
        try:
            told = FORMATS[source].model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            bad_json = first["type"] == "json_invalid"
            raise HTTPException(400 if bad_json else 422, f"{where}: {first['msg']}".lstrip(": ")) from None
        # Alertmanager repeats a delivery word for word: the same body counts as new after a while.
        replay = request.headers[TIMESTAMP] if signed else str(int(now.timestamp() // limits.max_skew_s))
        parts = (body, replay.encode())
        alerts = told.rows()
        row, new = await desk.keep(source, told.sender, alerts, parts, _trace(request), now)
        doubts = warnings(alerts)
        return {"id": row, "new": new, **({"warnings": doubts} if doubts else {})}

    return app


class _Desk:
    """Writes to the inbox, one transaction at a time: what arrives meanwhile goes into the next one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._inbox: Inbox | None = None
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[bool]]] = []
        self._writing = asyncio.Lock()

    async def keep(self, *delivery: Any) -> tuple[str, bool]:
        """The delivery's id, and whether it was new, once it is on disk. 503 when it cannot be written."""
        from sqlalchemy.exc import OperationalError  # locked, full, read-only

        from pipelines.stores.inbox import delivery_row

        row, kept = delivery_row(*delivery), asyncio.get_running_loop().create_future()
        self._waiting.append((row, kept))
        async with self._writing:
            if not kept.done():
                await self._write()
        try:
            return row["id"], await kept
        except OperationalError as error:
            retry = {"Retry-After": str(RETRY_AFTER_S)}
            raise HTTPException(503, "The ledger cannot be written now: send it again.", retry) from error

    async def _write(self) -> None:
        from sqlalchemy.exc import OperationalError

        taken, self._waiting = self._waiting, []
        try:
            new = await run_in_threadpool(self._store, [row for row, _ in taken])
            for (_, kept), is_new in zip(taken, new, strict=True):
                if not kept.done():
                    kept.set_result(is_new)
        except OperationalError as error:
            for _, kept in taken:
                if not kept.done():
                    kept.set_exception(error)
        finally:
            for _, kept in taken:
                kept.cancel()  # does nothing to those that have an answer

    def _store(self, rows: list[dict[str, Any]]) -> list[bool]:

        config = self._settings.config
        self._inbox = self._inbox or open_inbox(config, config.alerts.lock_wait_s)
        return self._inbox.deliver(*rows)


def _may_call(settings: Settings, request: Request, now: datetime) -> bool:
    """Refuse what proves nothing, before its body is read. True: the body's signature is to be checked."""
    if SIGNATURE in request.headers:
        stamp = request.headers.get(TIMESTAMP, "")
        age_s = now.timestamp() - int(stamp) if re.fullmatch(r"[0-9]{1,12}", stamp) else math.inf
        if abs(age_s) > settings.config.alerts.max_skew_s:
            raise HTTPException(401, f"{TIMESTAMP} is not now: an old signature, or a wrong clock.", REALM)
        return True
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    expected = _secret(settings, settings.config.alerts.token_file)
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), expected):
        raise HTTPException(401, "Send the token of alerts.token_file, or a signature.", REALM)
    return False


def _fits(settings: Settings, request: Request, body: bytes) -> bool:
    key = _secret(settings, settings.config.alerts.hmac_key_file)
    return hmac.compare_digest(
        request.headers[SIGNATURE].encode(), sign(key, request.headers[TIMESTAMP], body).encode()
    )


def sign(key: bytes, timestamp: str, body: bytes) -> str:
    """`sha256=` and the hex HMAC-SHA256 of the timestamp (Unix seconds), a dot and the body."""
    return "sha256=" + hmac.digest(key, timestamp.encode() + b"." + body, "sha256").hex()


def create_secrets(settings: Settings) -> None:
    """Make the token and the key where they are missing, mode 0600."""
    for template in (settings.config.alerts.token_file, settings.config.alerts.hmac_key_file):
        path = Path(settings.config.path(template))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))


def _secret(settings: Settings, template: str) -> bytes:
    """Read at each call, so that a new secret counts at once. Nobody can call without one."""
    try:
        secret = Path(settings.config.path(template)).read_bytes().strip()
    except OSError:
        secret = b""
    if not secret:
        raise HTTPException(
            503, "No secret is set up: run `make setup`.", {"Retry-After": str(RETRY_AFTER_S)}
        )
    return secret


async def _read(request: Request, limit: int, timeout_s: float) -> bytes:
    """The body, refused as soon as it is too large or too slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in request.stream():
                body += piece
                if len(body) > limit:
                    raise HTTPException(413, f"More than {limit} bytes.")
    except TimeoutError:
        raise HTTPException(408, f"No whole body within {timeout_s} s.") from None
    return bytes(body)


def _trace(request: Request) -> str:
    """The sender's trace, or a new one: from here on it is the same."""
    given = request.headers.get("traceparent", "")
    if TRACEPARENT.fullmatch(given):
        return given
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
