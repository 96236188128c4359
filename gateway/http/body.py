"""ASGI middleware: whole bodies within a limit of size and time; clients that do not read are cut off."""

from __future__ import annotations

import asyncio
import json
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Refusal

log = logging.getLogger("nightshift.gateway")


class _Slow(Exception):
    """The client does not read."""


class Clients:
    """Nobody sends more than `most_bytes`; no read or write lasts longer than `patience_s`."""

    def __init__(self, app: ASGIApp, most_bytes: int, patience_s: float) -> None:
        self._app, self._most_bytes, self._patience_s = app, most_bytes, patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._patience_s):
                    await send(message)
            except TimeoutError:
                raise _Slow from None

        try:
            body = await self._body(scope, receive)
        except Refusal as refusal:
            await _refuse(send_in_time, refusal)
            return
        if body is None:
            return
        given = False

        async def receive_again() -> Message:
            nonlocal given
            if given:
                return await receive()  # only a disconnect can follow
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            await self._app(scope, receive_again, send_in_time)
        except _Slow:
            log.warning("a client read too slowly and was cut off")

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None when the client has gone. Raises Refusal (413, 408)."""
        claimed = dict(scope["headers"]).get(b"content-length", b"0")
        if claimed.isdigit() and int(claimed) > self._most_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._most_bytes:
                        raise self._too_large()
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise Refusal(408, "request_timeout", "the body did not come in time") from None

    def _too_large(self) -> Refusal:
        return Refusal(413, "body_too_large", f"a body may have {self._most_bytes} bytes")


async def _refuse(send: Send, refusal: Refusal) -> None:
    body = json.dumps(refusal.body()).encode()
    names = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    headers = [(name.encode(), value.encode()) for name, value in (names | refusal.headers).items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
