"""ASGI middleware that limits the size of bodies and how long a client may take to send one."""

from __future__ import annotations

import asyncio
import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Refusal


class BodyLimits:
    """A body has at most `most_bytes`, and comes within `patience_s`."""

    def __init__(self, app: ASGIApp, most_bytes: int, patience_s: float) -> None:
        self._app, self._most_bytes, self._patience_s = app, most_bytes, patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(scope, receive)
        except Refusal as refusal:
            scope["app"].state.service.metrics.refusals.labels(refusal.status, refusal.code).inc()
            await send_refusal(send, refusal)
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

        await self._app(scope, receive_again, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, or None if the client went away.

        Raises Refusal: 413 too large, 408 too slow, 415 compressed.
        """
        named = dict(scope["headers"])
        if named.get(b"content-encoding", b"identity").lower() != b"identity":
            problem = "the body has a Content-Encoding, and this gateway takes plain JSON only"
            raise Refusal(415, "unsupported_encoding", problem)
        claimed = named.get(b"content-length", b"0")
        if claimed.isdigit() and len(claimed) < 20 and int(claimed) > self._most_bytes:
            raise self._too_large(f"has {int(claimed)}")
        body = bytearray()
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._most_bytes:
                        raise self._too_large("has more")
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            problem = f"the body did not come within {self._patience_s:g} s"
            raise Refusal(408, "request_timeout", problem) from None

    def _too_large(self, found: str) -> Refusal:
        message = f"a body may have {self._most_bytes} bytes, and this one {found}"
        return Refusal(413, "body_too_large", message)


async def send_refusal(send: Send, refusal: Refusal) -> None:
    """Answer with a refusal, and ask the server to close the connection."""
    body = json.dumps(refusal.body()).encode()
    names = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    headers = [(name.lower().encode(), value.encode()) for name, value in (names | refusal.headers).items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
