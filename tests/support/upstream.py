"""A server with OpenAI's API in a thread of the test, which says whatever the test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Said = tuple[int, str, bytes]  # status, content type, body
STREAM = "text/event-stream"


def stream_of(*chunks: Any) -> Said:
    """The chunks as server-sent events."""
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    return 200, STREAM, body + b"data: [DONE]\n\n"


def answer_of(text: str, usage: Any = None) -> Said:
    """A whole answer as a stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
    return stream_of({"choices": [choice]}, {"choices": [], "usage": usage})


def error_of(status: int, message: str) -> Said:
    return status, "application/json", json.dumps({"error": {"message": message}}).encode()


@contextmanager
def upstream(
    said: Callable[[dict[str, Any]], Said],
    prefix: str = "",
    takes_adapters: bool = False,
    keys: list[str] | None = None,
) -> Iterator[str]:
    """Serve until the block ends; yields the address.

    `said` gets the body of each chat request and, if the server `takes_adapters`, of those that load one
    or take one away. `keys` gets the authorization of each.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = json.dumps({"data": [{"id": "base"}]}).encode()
            found = self.path == f"{prefix}/v1/models"
            self._respond((200, "application/json", listed) if found else error_of(404, "no such path"))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if keys is not None:
                keys.append(self.headers.get("authorization", ""))
            paths = ("/v1/chat/completions", "/v1/load_lora_adapter", "/v1/unload_lora_adapter")
            found = self.path in [f"{prefix}{path}" for path in paths[: 3 if takes_adapters else 1]]
            self._respond(said(body) if found else error_of(404, "no such path"))

        def _respond(self, what: Said) -> None:
            status, kind, body = what
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        server.server_close()
