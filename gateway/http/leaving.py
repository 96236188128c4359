"""ASGI middleware that cancels the work for a client as soon as the client goes away."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CancelWhenGone:
    """Cancels the app when the client disconnects before it has the whole response.

    Servers tell of it only when asked (`receive`), and an app that waits for its answer does not ask.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_body, is_sent = asyncio.Event(), False

        async def receive_body() -> Message:
            message = await receive()
            if not message.get("more_body"):
                has_body.set()
            return message

        async def watched_send(message: Message) -> None:
            nonlocal is_sent
            await send(message)
            is_sent = message["type"] == "http.response.body" and not message.get("more_body")

        async def gone() -> None:
            await has_body.wait()
            while (await receive())["type"] != "http.disconnect":
                pass

        async def run() -> None:
            await self._app(scope, receive_body, watched_send)

        work = asyncio.create_task(run())
        watch = asyncio.create_task(gone())
        try:
            await asyncio.wait([work, watch], return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not is_sent:
                work.cancel()
                await asyncio.wait([work])
            if not work.cancelled():
                await work
        finally:
            for task in (work, watch):
                task.cancel()
