"""A server with OpenAI's /v1/moderations in a thread of the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Said = tuple[int, bytes]  # status, body
PATH = "/v1/moderations"


def results(flags: Sequence[tuple[bool, float]]) -> Said:
    """A reply as OpenAI's: for each text whether it is flagged, and its highest score."""
    found = [
        {"flagged": flagged, "categories": {"violence": flagged}, "category_scores": {"violence": score}}
        for flagged, score in flags
    ]
    return 200, json.dumps({"id": "modr-1", "model": "m", "results": found}).encode()


@dataclass
class ModerationServer:
    """`say` gets the texts of a request. `first`: replies before that, in their order."""

    say: Callable[[list[str]], Said]
    first: list[Said] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def moderation_server(say: Callable[[list[str]], Said], prefix: str = "") -> Iterator[ModerationServer]:
    """Serve until the block ends."""
    server = ModerationServer(say)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.asked.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.path != prefix + PATH:
                status, said = 404, b'{"error": {"message": "no such path"}}'
            else:
                status, said = server.first.pop(0) if server.first else server.say(body["input"])
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            if status in (301, 302, 307):
                self.send_header("location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}{prefix}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
