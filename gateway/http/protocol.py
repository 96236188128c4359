"""uvicorn's protocol with limits that it lacks: the size and time of a request's head, and unread answers."""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.errors import Refusal
from gateway.http.connections import Connections, only_health
from pipelines.core.config import Gateway

NO_UPGRADE = "this gateway speaks HTTP/1.1 only: send no Upgrade header (Java: HttpClient.Version.HTTP_1_1)"
FRAMING = 8  # bytes of a connection for one byte of a body that comes in very small chunks
log = logging.getLogger("nightshift.gateway")


class GuardedProtocol(HttpToolsProtocol):
    """One connection: uvicorn's protocol with limits."""

    def __init__(self, peers: Connections, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._peers, self._settings = peers, peers.settings
        self._bytes = self._head_bytes = 0  # of the request that is being read
        self._in_head, self._has_begun = True, False
        self._is_deaf = False  # what comes is thrown away until the answer is sent, and then it closes
        self._refusal = Refusal(400, "invalid_http", "this is no HTTP/1.1 request")
        self._request_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # `pause_writing` is called for any unread byte
        self._peers.count += 1
        if not self._peers.make_room(self.loop.time()):
            self.app = only_health(self.app)
            if self._peers.is_overrun:
                self.abort()
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.count -= 1
        self._peers.incomplete.pop(self.transport, None)
        for timer in (self._request_timer, self._unread_timer):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once. What the client has not read is lost."""
        self._peers.incomplete.pop(self.transport, None)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._is_deaf:
            if self._bytes > self._settings.max_body_bytes:
                self.abort()
            return
        super().data_received(data)
        most = self._settings.max_header_bytes
        if not self._in_head:
            most += FRAMING * self._settings.max_body_bytes
        if self._bytes > most and not self.transport.is_closing():
            self._refuse(_head_too_large(self._settings) if self._in_head else self._refusal)

    def on_message_begin(self) -> None:
        if self._is_answering:
            raise ValueError  # ends the parsing, see `send_400_response`
        super().on_message_begin()
        self._bytes = self._head_bytes = 0
        self._in_head = self._has_begun = True
        self._await_request()

    def on_url(self, url: bytes) -> None:
        self._count_head(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()  # `gateway.http.body` limits the time of the body
        if self.parser.should_upgrade() and _has_body(self.headers):  # the parser would skip the body
            self._refusal = Refusal(400, "upgrade_refused", NO_UPGRADE)
            raise ValueError
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._peers.incomplete.pop(self.transport, None)
        self._bytes, self._has_begun = 0, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            self._await_request()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Called where parsing ended. What comes while an answer is under way must not break into it.

        uvicorn would queue such requests and stop reading, and so would not see the client leave.
        """
        if self._is_answering:
            self._is_deaf, self.cycle.keep_alive = True, False
        else:
            self._refuse(self._refusal)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self._settings.client_timeout_s, self._does_not_read)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer:
            self._unread_timer.cancel()

    @property
    def _is_answering(self) -> bool:
        """Whether a whole request waits for the end of its answer."""
        return self.cycle is not None and not self.cycle.response_complete and not self._has_begun

    def _await_request(self) -> None:
        self._peers.incomplete.pop(self.transport, None)
        self._peers.incomplete[self.transport] = self.loop.time()  # as the newest
        self._stop_waiting()
        self._request_timer = self.loop.call_later(self._settings.client_timeout_s, self._does_not_send)

    def _stop_waiting(self) -> None:
        if self._request_timer:
            self._request_timer.cancel()

    def _count_head(self, part: bytes) -> None:
        """Raising ends the parsing, and uvicorn then calls `send_400_response`."""
        self._head_bytes += len(part)
        if not self._in_head:
            self._refusal = Refusal(400, "invalid_http", "a chunked body may have no trailers")
            raise ValueError
        if self._head_bytes > self._settings.max_header_bytes:
            self._refusal = _head_too_large(self._settings)
            raise ValueError

    def _does_not_send(self) -> None:
        if self._has_begun:
            self._refuse(Refusal(408, "request_timeout", "the request's head did not come in time"))
        self.transport.close()

    def _does_not_read(self) -> None:
        log.warning("a client read too slowly and was cut off")
        self.abort()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without an application, and close."""
        if self.transport.is_closing():
            return
        body = json.dumps(refusal.body()).encode()
        head = f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\nconnection: close\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in headers
    )


def _head_too_large(settings: Gateway) -> Refusal:
    return Refusal(431, "head_too_large", f"a request's head may have {settings.max_header_bytes} bytes")
