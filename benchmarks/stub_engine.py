"""An engine that waits a fixed time and answers one word, in the process or as an OpenAI server.

python -m benchmarks.stub_engine PORT
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn

from gateway.engines.base import CompletionRequest, Piece
from pipelines.core.traffic_split import Adapter

WORK_S = 0.01
WORD = "Dental"
ANSWER = {
    "id": "stub",
    "object": "chat.completion",
    "created": 0,
    "model": "stub",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": WORD}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21},
}
CHUNK = {**ANSWER, "object": "chat.completion.chunk"}
STREAMED = (
    b"".join(
        b"data: " + json.dumps({**CHUNK, **part}).encode() + b"\n\n"
        for part in (
            {
                "choices": [
                    {"index": 0, "delta": {"role": "assistant", "content": WORD}, "finish_reason": None}
                ]
            },
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        )
    )
    + b"data: [DONE]\n\n"
)


class StubEngine:
    """In the gateway's own process."""

    restarts = 0
    reloads = 0

    async def load(self, adapter: Adapter, folder: Path) -> None:
        """Nothing to load."""

    async def unload(self, adapter: Adapter) -> None:
        """Nothing to unload."""

    async def warm(self, adapter: Adapter | None) -> None:
        """Always warm."""

    async def complete(self, request: CompletionRequest, adapter: Adapter | None) -> AsyncIterator[Piece]:
        await asyncio.sleep(WORK_S)
        yield Piece(WORD, "stop", tokens_in=20, tokens_out=1)

    async def close(self) -> None:
        """Nothing to close."""


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The server, as small as ASGI allows."""
    asked = b""
    while True:
        message = await receive()
        asked += message.get("body", b"")
        if not message.get("more_body"):
            break
    await asyncio.sleep(WORK_S)
    streams = json.loads(asked or b"{}").get("stream")  # a health check sends nothing
    body = STREAMED if streams else json.dumps(ANSWER).encode()
    kind = b"text/event-stream" if streams else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", lifespan="off")
