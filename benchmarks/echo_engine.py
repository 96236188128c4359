"""An OpenAI server whose answers identify their conversation: its digest, and a number used only once.

python -m benchmarks.echo_engine PORT

An answer that shows another conversation's digest, or a number that another tenant has seen, is a leak.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import sys
from typing import Any

import uvicorn

WORK_S = 0.01
NUMBERS = itertools.count()
PROCESS = os.getpid()


def digest(messages: list[dict[str, str]]) -> str:
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:16]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`/v1/models`, and `/v1/chat/completions` streamed in three pieces; anything else is 404."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"] == "/v1/models":
        await _send(send, 200, b'{"data": [{"id": "base"}]}')
    elif scope["path"] != "/v1/chat/completions":
        await _send(send, 404, b"{}")
    else:
        await _stream(send, json.loads(body))


async def _stream(send: Any, asked: dict[str, Any]) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in (digest(asked["messages"]), f" {PROCESS}-{next(NUMBERS)}", " end"):
        await asyncio.sleep(WORK_S / 3)
        await _event(send, {"index": 0, "delta": {"content": piece}, "finish_reason": None})
    await _event(send, {"index": 0, "delta": {}, "finish_reason": "stop"})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _event(send: Any, choice: dict[str, Any]) -> None:
    event = b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    await send({"type": "http.response.body", "body": event, "more_body": True})


async def _send(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", lifespan="off")
