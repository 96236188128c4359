"""ASGI middleware that limits the size of bodies and how long a client may take to send or read them."""

from __future__ import annotations

import asyncio
import json
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Refusal

log = logging.getLogger("nightshift.gateway")


class _SlowReader(Exception):
    """The client does not read its answer."""


class ClientLimits:
    """A body has at most `most_bytes`. Reading it, or one write to the client, takes at most `patience_s`."""

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
                raise _SlowReader from None

        try:
            body = await self._body(scope, receive)
        except Refusal as refusal:
            await _refuse(send_in_time, refusal)
            return
        if body is None:
            return
        is_read = False

        async def receive_again() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()  # only a disconnect can follow
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            await self._app(scope, receive_again, send_in_time)
        except _SlowReader:
            log.warning("a client read too slowly and was cut off")

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, or None if the client went away. Raises Refusal (413 too large, 408 too slow)."""
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
