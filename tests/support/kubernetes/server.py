"""The API over HTTPS on a free loopback port."""

from __future__ import annotations

import json
import select
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.support.kubernetes.api import Api
from tests.support.kubernetes.messages import Answer, Request
from tests.support.kubernetes.status import ApiError


class Server(ThreadingHTTPServer):
    """One thread a connection. `users`: token -> service account, or empty for the admin."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, api: Api, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.api, self.context = api, context
        self.users: dict[str, str] = {}
        self.closing = threading.Event()
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error here."""


def _boolean(text: str) -> str:
    """`true` and `false` however a client writes them (Python's writes True)."""
    return text.lower() if text in ("True", "False", "TRUE", "FALSE") else text


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        self.request.settimeout(60)
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing; `Server.requests` holds what was asked."""

    def _handle(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        parts = urlsplit(self.path)
        cuts = self.server.api.faults.cuts
        request = Request(
            self.command, parts.path, {name: _boolean(value) for name, value in parse_qsl(parts.query)},
            {name.lower(): value for name, value in self.headers.items()}, self.rfile.read(length),
            lambda: self.server.api.faults.cuts != cuts or self.server.closing.is_set(),
        )  # fmt: skip
        self.server.requests.append(f"{self.command} {self.path}")
        try:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if token not in self.server.users:
                raise ApiError(401, "Unauthorized")
            request.user = self.server.users[token]
            self.server.api.faults.meet(f"{self.command} {self.path}")
            answer = self.server.api.answer(request)
            self.server.api.faults.meet(f"{self.command} {self.path}", late=True)
        except ApiError as error:
            self._send(error.code, error.document, error.headers)
            return
        if answer.stream is not None:
            self._send_stream(answer, request)
        else:
            self._send(answer.status, answer.document, {"Content-Type": answer.content_type})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _send(self, status: int, document: object, headers: dict[str, str]) -> None:
        body = b"" if status == 204 else json.dumps(document).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_stream(self, answer: Answer, request: Request) -> None:
        assert answer.stream is not None
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for part in self._until_left(answer.stream):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        if request.cut():
            self.close_connection = True  # in the middle of a stream, as a proxy that restarts
            return
        self.wfile.write(b"0\r\n\r\n")

    def _until_left(self, stream: Iterator[bytes | None]) -> Iterator[bytes]:
        """The parts that hold something, until the client hangs up."""
        for part in stream:
            if part:
                yield part
            elif part is None and select.select([self.connection], [], [], 0)[0]:
                self.close_connection = True
                return
